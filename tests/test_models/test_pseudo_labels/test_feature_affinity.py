import pytest
import torch
from mmseg.registry import MODELS
from torch.testing import assert_close

from mmseg_fsr.models.pseudo_labels import FeatureAffinity
from mmseg_fsr.models.pseudo_labels.feature_affinity import cell_affinity, random_walk


def plain_affinity(features, power):
    """Row by row and cell by cell, of one image (C, h, w)."""
    cells = features.flatten(1).T.double()
    rows = []
    for cell in cells:
        row = []
        for other in cells:
            cosine = float(cell @ other / (cell.norm() * other.norm()))
            row.append(max(cosine, 0) ** power)
        rows.append([value / sum(row) for value in row])
    return torch.tensor(rows)


@pytest.mark.parametrize("power", [1, 2, 4.5])
def test_affinity_is_the_cosine_to_a_power(power):
    features = torch.randn(2, 5, 3, 4)
    affinity = cell_affinity(features, power)
    for actual, image in zip(affinity, features, strict=True):
        assert_close(actual, plain_affinity(image, power), atol=1e-5, rtol=0)


def test_cells_without_features_give_and_take_nothing():
    features = torch.randn(1, 5, 2, 2)
    features[..., 0, 0] = 0
    affinity = cell_affinity(features, 2)[0]
    assert not affinity[0].any()
    assert not affinity[:, 0].any()
    assert_close(affinity[1:].sum(1), torch.ones(3))


@pytest.mark.parametrize("steps", [1, 3])
def test_a_walk_takes_the_mean_of_all_cells_several_times(steps):
    maps = torch.rand(2, 3, 2, 3)
    affinity = torch.rand(2, 6, 6)
    expected = maps.flatten(2).clone()
    for _ in range(steps):
        before = expected.clone()
        for image in range(2):
            for cell in range(6):
                expected[image, :, cell] = sum(
                    affinity[image, cell, other] * before[image, :, other]
                    for other in range(6)
                )
    assert_close(random_walk(maps, affinity, steps), expected.view_as(maps))


def two_objects():
    """CAMs that see the upper half of an object, whose features are all alike."""
    features = torch.zeros(1, 2, 4, 4)
    features[:, 0, :, :2] = 1
    features[:, 1, :, 2:] = 1
    cams = torch.zeros(1, 1, 16, 16)
    cams[..., :8, :8] = 0.9
    return cams, features


def test_cams_fill_what_has_the_same_features():
    cams, features = two_objects()
    spread = MODELS.build(dict(type="FeatureAffinity"))(cams, features)
    assert spread.shape == cams.shape
    assert (spread[..., :6] > 0.9).all()
    assert (spread[..., 10:] < 0.1).all()
    assert spread.min() == 0
    assert 0.999 < spread.max() < 1


def test_it_is_float32_under_autocast_and_without_gradient():
    cams, features = two_objects()
    expected = FeatureAffinity()(cams, features)
    with torch.autocast("cpu", torch.bfloat16):
        half = FeatureAffinity()(cams, features.bfloat16().requires_grad_())
    assert half.dtype == torch.float32
    assert not half.requires_grad
    assert_close(half, expected)


def test_another_source_gives_the_features():
    cams, features = two_objects()
    affinity = FeatureAffinity()
    images = torch.rand(1, 3, 16, 16)
    given = []
    affinity.source = lambda images: given.append(images) or features
    spread = affinity(cams, images=images)
    assert given[0] is images
    assert torch.equal(spread, FeatureAffinity()(cams, features))


@pytest.mark.parametrize("settings", [dict(power=0), dict(power=-1), dict(steps=0)])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match="expected power above 0 and steps from 1"):
        FeatureAffinity(**settings)


def test_the_generator_tells_whether_it_needs_features():
    generator = dict(type="CAMPseudoLabelGenerator")
    assert not MODELS.build(generator).needs_features
    affinity = dict(type="FeatureAffinity", power=3, steps=1)
    own = MODELS.build(dict(generator, affinity=affinity))
    assert own.needs_features
    own.affinity.source = lambda images: None
    assert not own.needs_features
