import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import LabelData
from torch import nn

from mmseg_fsr.models.pseudo_labels import FeatureAffinity
from mmseg_fsr.models.segmentors.cam_segmentor import (
    labels_of_mask,
    untracked_batch_norm,
)
from tests.support.own_cams import own_cams
from tests.support.timm_vit import COMMON
from tests.support.tiny_segmentor import (
    NUM_CLASSES,
    SIZE,
    build_tiny,
    evaluation_samples,
)


@pytest.fixture(autouse=True)
def _without_gradient():
    with torch.no_grad():
        yield


@pytest.fixture
def segmentor():
    """One that gives CAMs beside its prediction."""
    return build_tiny(test_cfg=dict(mode="whole", cams=True)).eval()


# -------------------------------------------------------------- prediction


def test_prediction_is_the_decoder_at_the_size_of_the_image():
    segmentor = build_tiny().eval()
    images = torch.randn(2, 3, *SIZE)
    samples = segmentor.predict(images, evaluation_samples(masks=False))
    logits = segmentor.decode_head(segmentor.backbone(images).levels)
    # Once, not to the size of the input first.
    logits = F.interpolate(logits, (40, 60), mode="bilinear", align_corners=False)
    for sample, expected in zip(samples, logits, strict=True):
        torch.testing.assert_close(sample.seg_logits.data, expected)
        assert torch.equal(sample.pred_sem_seg.data[0], expected.argmax(0))
        assert "cams" not in sample


def test_images_of_several_sizes_are_predicted_at_their_own(segmentor):
    images, sizes = torch.randn(2, 3, *SIZE), [(40, 60), (50, 30)]
    samples = [evaluation_samples(1, ori_shape=size)[0] for size in sizes]
    samples = segmentor.predict(images, samples)
    logits = segmentor.decode_head(segmentor.backbone(images).levels)
    # By way of the input's size, as mmseg does.
    logits = F.interpolate(logits, SIZE, mode="bilinear", align_corners=False)
    cams = segmentor.cams(images)
    for i, (sample, size) in enumerate(zip(samples, sizes, strict=True)):

        def resize(maps, i=i, size=size):
            return F.interpolate(maps[i][None], size, mode="bilinear")[0]

        torch.testing.assert_close(sample.seg_logits.data, resize(logits))
        assert sample.pred_sem_seg.shape == size
        # Of the one class that the mask shows.
        torch.testing.assert_close(sample.cams.data[0], resize(cams.top)[0])
        torch.testing.assert_close(sample.aux_cams.data[0], resize(cams.aux)[0])
        assert sample.pseudo_sem_seg.shape == size


# ------------------------------------------------------- image-level prior


def probabilities_with_prior(segmentor, images):
    """Probabilities of cells, times those that images show the classes, sum 1.

    One image, one cell, one class at a time; the background is in every image.
    """
    features = segmentor.backbone(images)
    scores, _ = segmentor.cam_head(features)
    cells = segmentor.decode_head(features.levels).softmax(1)
    for image, score in zip(cells, scores, strict=True):
        for k, logit in enumerate(score):
            image[k + 1] *= 1 / (1 + (-logit).exp())
    return cells / cells.sum(1, keepdim=True)


@pytest.mark.parametrize("cams", [False, True])
def test_image_level_prior_weighs_the_segmentation_by_the_classifier(cams):
    cfg = dict(mode="whole", cams=cams, image_level_prior=True)
    segmentor = build_tiny(test_cfg=cfg).eval()
    images = torch.randn(2, 3, *SIZE)
    expected = probabilities_with_prior(segmentor, images)
    logits = segmentor(images, mode="tensor")
    torch.testing.assert_close(logits.softmax(1), expected)
    plain = segmentor.decode_head(segmentor.backbone(images).levels)
    assert not torch.allclose(plain.softmax(1), expected, atol=0.01)
    logits = F.interpolate(logits, (40, 60), mode="bilinear", align_corners=False)
    for sample, each in zip(
        segmentor.predict(images, evaluation_samples()), logits, strict=True
    ):
        torch.testing.assert_close(sample.seg_logits.data, each)
        assert ("cams" in sample) == cams


def test_image_level_prior_of_a_window_is_its_own():
    windows = dict(mode="slide", crop_size=(32, 32), stride=(32, 16))
    segmentor = build_tiny(test_cfg=dict(image_level_prior=True, **windows)).eval()
    images = torch.randn(1, 3, *SIZE)
    (sample,) = segmentor.predict(images, evaluation_samples(1, ori_shape=SIZE))
    left = segmentor(images[..., :32], mode="tensor")
    left = F.interpolate(left, (32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(sample.seg_logits.data[..., :16], left[0, ..., :16])


def test_without_a_test_cfg_the_decoder_alone_segments():
    segmentor = build_tiny(test_cfg=None).eval()
    images = torch.randn(1, 3, *SIZE)
    expected = segmentor.decode_head(segmentor.backbone(images).levels)
    assert torch.equal(segmentor(images, mode="tensor"), expected)


def test_image_level_prior_keeps_float32_under_autocast():
    segmentor = build_tiny(test_cfg=dict(mode="whole", image_level_prior=True)).eval()
    images = torch.randn(1, 3, *SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        logits = segmentor(images, mode="tensor")
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


# mmseg's names for the same: of images that the data preprocessor pads, and others.
@pytest.fixture(params=["img_padding_size", "padding_size"])
def padded(request):
    """A sample whose image was padded to ``SIZE`` at its right and bottom."""
    (sample,) = evaluation_samples(1, ori_shape=(28, 41))
    sample.set_metainfo({request.param: [0, 7, 0, 4]})
    return sample


def test_padding_is_cut_off(padded):
    segmentor = build_tiny().eval()
    images = torch.randn(1, 3, *SIZE)
    (sample,) = segmentor.predict(images, [padded])
    logits = segmentor.decode_head(segmentor.backbone(images).levels)
    logits = F.interpolate(logits, SIZE, mode="bilinear", align_corners=False)
    torch.testing.assert_close(sample.seg_logits.data, logits[0, :, :28, :41])


def test_prediction_without_samples(segmentor):
    (sample,) = segmentor.predict(torch.randn(1, 3, *SIZE))
    assert sample.seg_logits.shape == SIZE
    assert "cams" not in sample


def test_unknown_classes_are_kept_apart(segmentor):
    images, samples = torch.randn(2, 3, *SIZE), evaluation_samples(masks=False)
    known = segmentor.predict(images, with_labels(samples, [1.0, 0, 1], [0.0, 1, 0]))
    absent = [sample.pseudo_sem_seg.data for sample in known]
    assert "unknown_cams" not in known[0]
    samples = evaluation_samples(masks=False)
    found = segmentor.predict(images, with_labels(samples, [1.0, -1, 1], [0.0, 1, 0]))
    cams = segmentor.cams(images).top
    for i, (one, other) in enumerate(zip(found, known, strict=True)):
        # As if the image did not show them.
        assert torch.equal(one.cams.data, other.cams.data)
        assert torch.equal(one.aux_cams.data, other.aux_cams.data)
        hidden = cams[i, 1] > segmentor.pseudo_label_generator.low_thr
        hidden = F.interpolate(hidden[None, None].float(), (40, 60), mode="nearest")
        hidden = hidden[0].bool() if i == 0 else torch.zeros(1, 40, 60).bool()
        expected = absent[i].masked_fill(hidden, 255)
        assert torch.equal(one.pseudo_sem_seg.data, expected)
    assert not torch.equal(found[0].pseudo_sem_seg.data, absent[0])
    maps = F.interpolate(cams, (40, 60), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found[0].unknown_cams.data, maps[0, 1:2])
    assert "unknown_cams" not in found[1]


def with_labels(samples, *labels):
    for sample, label in zip(samples, labels, strict=True):
        sample.gt_label = LabelData(label=torch.tensor(label))
    return samples


@pytest.mark.parametrize(
    ("mode", "passes"),
    [
        # The decoder's pass is the CAMs' own; the mirror image, then scale 1.5.
        (dict(mode="whole"), [2, 2, 4]),
        # The image, which CAMs are made of, and three windows of it.
        (dict(mode="slide", crop_size=(32, 32), stride=(32, 8)), [2] * 4 + [2, 4]),
    ],
)
def test_cams_take_up_the_pass_of_the_prediction(mode, passes):
    segmentor = build_tiny(test_cfg=dict(cams=True, **mode)).eval()
    images, passed = torch.randn(2, 3, *SIZE), []
    segmentor.backbone.register_forward_hook(
        lambda _, inputs, __: passed.append(len(inputs[0]))
    )
    # Nothing needs the class token.
    segmentor.backbone.aggregator.register_forward_hook(
        lambda *_: passed.append("class token")
    )
    samples = segmentor.predict(images, evaluation_samples())
    assert passed == passes
    expected = segmentor.cams(images)
    size = evaluation_samples()[0].ori_shape
    maps = F.interpolate(expected.top, size, mode="bilinear", align_corners=False)
    assert torch.equal(samples[0].cams.data[0], maps[0, 0])


@pytest.mark.parametrize("counted", [None, 2])
def test_cams_and_pseudo_labels_are_of_the_images_own_classes(segmentor, counted):
    images, samples = torch.randn(2, 3, *SIZE), evaluation_samples(masks=False)
    made = []
    generator = segmentor.pseudo_label_generator
    generator.pseudo_label = lambda rgb, cams, classes: (
        made.append(cams) or generator.label(cams, classes)
    )
    samples = with_labels(samples, [0.0, 0, 1], [1.0, 0, 0])
    for sample in samples if counted else ():
        sample.set_metainfo(dict(num_labels=counted, num_unknown=0))
    samples = segmentor.predict(images, samples)
    assert [maps.shape[1] for maps in made] == [counted or 1]
    expected = segmentor.cams(images)
    for i, (sample, shown) in enumerate(zip(samples, (2, 0), strict=True)):
        for name, maps in (("cams", expected.top), ("aux_cams", expected.aux)):
            maps = F.interpolate(maps[i : i + 1], (40, 60), mode="bilinear")[0]
            assert torch.equal(sample.get(name).data[shown], maps[shown])
            others = [k for k in range(NUM_CLASSES) if k != shown]
            assert not sample.get(name).data[others].any()


def test_without_labels_or_masks_there_are_no_cams(segmentor):
    samples = evaluation_samples(masks=False)
    samples[0].gt_label = LabelData(label=torch.tensor([1.0, 0, 0]))
    samples = segmentor.predict(torch.randn(2, 3, *SIZE), samples)
    assert all("cams" not in sample for sample in samples)


def test_given_labels_come_before_those_of_the_mask(segmentor):
    samples = evaluation_samples()
    samples[0].gt_label = LabelData(label=torch.tensor([0.0, 1, 1]))
    samples = segmentor.predict(torch.randn(2, 3, *SIZE), samples)
    shown = [sample.cams.data.flatten(1).any(1).tolist() for sample in samples]
    assert shown == [[False, True, True], [False, True, False]]


def test_cams_of_predicted_classes(segmentor):
    weight = segmentor.cam_head.top_classifier.weight
    weight[1] = -weight[0]  # one of the two is predicted, the other is not
    images = torch.randn(1, 3, *SIZE)
    scores, _ = segmentor.cam_head(segmentor.backbone(images))
    predicted = (scores[0] > 0).float()
    assert 0 < predicted.sum() < NUM_CLASSES
    (sample,) = evaluation_samples(1, masks=False)
    sample.set_metainfo(dict(num_labels=0))  # of labels, not of what is predicted
    segmentor.add_cams(images, [sample])
    (given,) = evaluation_samples(1, masks=False)
    given.gt_label = LabelData(label=predicted)
    (given,) = segmentor.predict(images, [given])
    for name in ("cams", "aux_cams", "pseudo_sem_seg"):
        assert torch.equal(sample.get(name).data, given.get(name).data)
    assert not sample.cams.data[predicted == 0].any()


def test_cams_of_the_classes_in_the_mask(segmentor):
    images = torch.randn(2, 3, *SIZE)
    samples = segmentor.predict(images, evaluation_samples())
    cams = segmentor.cams(images)
    scores, _ = segmentor.cam_head(segmentor.backbone(images))
    labels = torch.stack(
        [labels_of_mask(s.gt_sem_seg.data, NUM_CLASSES + 1) for s in samples]
    )
    assert labels.tolist() == [[1, 0, 0], [0, 1, 0]]
    pseudo_labels = segmentor.pseudo_label_generator.pseudo_label(
        segmentor.data_preprocessor.denormalize(images), *own_cams(cams.top, labels)
    )
    for i, sample in enumerate(samples):
        assert sample.pred_label.score.tolist() == pytest.approx(scores[i].tolist())
        for actual, maps in ((sample.cams, cams.top), (sample.aux_cams, cams.aux)):
            expected = F.interpolate(maps[i : i + 1], (40, 60), mode="bilinear")[0]
            torch.testing.assert_close(actual.data[i], expected[i])
            others = [k for k in range(NUM_CLASSES) if k != i]
            assert not actual.data[others].any()
        assert sample.pseudo_sem_seg.data.dtype == torch.int64
        for y, x in ((0, 0), (20, 31), (39, 59)):
            nearest = pseudo_labels[i, y * SIZE[0] // 40, x * SIZE[1] // 60]
            assert sample.pseudo_sem_seg.data[0, y, x] == nearest


@pytest.mark.parametrize(("direction", "dim"), [("horizontal", 3), ("vertical", 2)])
def test_cams_of_a_mirror_image_are_mirrored_back(segmentor, direction, dim):
    images = torch.randn(2, 3, *SIZE)
    plain = segmentor.predict(images, evaluation_samples())
    samples = evaluation_samples()
    for sample in samples:
        sample.set_metainfo(dict(flip=True, flip_direction=direction))
    mirrored = segmentor.predict(images, samples)
    for actual, expected in zip(mirrored, plain, strict=True):
        for name in ("cams", "aux_cams", "pseudo_sem_seg"):
            maps = expected.get(name).data.flip(dim - 1)
            assert torch.equal(actual.get(name).data, maps), name


def test_refuses_cams_of_padded_images(segmentor, padded):
    with pytest.raises(ValueError, match=r"test_cfg\.cams.*size_divisor"):
        segmentor.predict(torch.randn(1, 3, *SIZE), [padded])


def test_slide_mode_averages_overlapping_windows():
    cfg = dict(mode="slide", crop_size=(32, 32), stride=(32, 16))
    segmentor = build_tiny(test_cfg=cfg).eval()
    images = torch.randn(1, 3, *SIZE)
    (sample,) = segmentor.predict(
        images, evaluation_samples(1, ori_shape=SIZE, masks=False)
    )
    total, count = torch.zeros(1, 4, *SIZE), torch.zeros(SIZE)
    for left in (0, 16):
        window = images[..., left : left + 32]
        logits = segmentor.decode_head(segmentor.backbone(window).levels)
        total[..., left : left + 32] += F.interpolate(
            logits, (32, 32), mode="bilinear", align_corners=False
        )
        count[:, left : left + 32] += 1
    expected = (total / count)[0]
    torch.testing.assert_close(sample.seg_logits.data, expected)


# -------------------------------------------------------------- batch norm


def test_normalises_by_the_batch_and_keeps_the_statistics():
    norm = nn.BatchNorm2d(3)
    x = 5 + 2 * torch.randn(4, 3, 6, 6)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with untracked_batch_norm(nn.Sequential(norm)):
        out = norm(x)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    for name, value in norm.state_dict().items():
        assert torch.equal(value, before[name]), name
    norm(x)
    assert not torch.equal(norm.running_mean, before["running_mean"])


def test_knows_synchronised_layers_and_leaves_evaluated_ones_alone():
    norm, evaluated = nn.SyncBatchNorm(3), nn.BatchNorm2d(3).eval()
    x = 5 + torch.randn(4, 3, 6, 6)
    expected = evaluated(x)
    with untracked_batch_norm(nn.Sequential(norm, evaluated)):
        assert not norm.track_running_stats
        assert torch.equal(evaluated(x), expected)
    assert norm.track_running_stats
    assert evaluated.track_running_stats


# -------------------------------------------------------------- labels


def test_classes_that_the_mask_shows():
    for _ in range(5):
        mask = torch.randint(0, 7, (1, 3, 2), dtype=torch.uint8)
        mask[mask == 6] = 255
        expected = [float((mask == k).any()) for k in range(1, 5)]
        labels = labels_of_mask(mask, num_classes=5)
        assert labels.tolist() == expected
        assert labels.dtype == torch.float32


@torch.no_grad()
@pytest.mark.parametrize("given", [True, False])
def test_an_affinity_spreads_the_cams_without_a_further_pass(given):
    affinity = dict(type="FeatureAffinity", power=2, steps=2)
    scales = (1.0, 1.5)
    generator = dict(type="CAMPseudoLabelGenerator", scales=scales)
    plain = build_tiny(pseudo_label_generator=generator).eval()
    spreading = build_tiny(pseudo_label_generator=dict(generator, affinity=affinity))
    spreading.load_state_dict(plain.state_dict())
    spreading.eval()
    images = torch.randn(2, 3, *SIZE)
    features = plain.backbone(images, up_to="feat")
    passed = []
    spreading.backbone.register_forward_hook(
        lambda _, inputs, __: passed.append(len(inputs[0]))
    )
    cams = spreading.cams(images, features=features if given else None)
    # The images once, mirrored, and both at the second scale.
    assert sum(passed) == (2 if given else 4) + 4
    expected = plain.cams(images)
    torch.testing.assert_close(cams.aux, expected.aux)
    spread = spreading.pseudo_label_generator.affinity(expected.top, features.feat)
    torch.testing.assert_close(cams.top, spread, atol=1e-4, rtol=0)
    passed.clear()
    spreading.cams(images, top=False)
    assert sum(passed) == 2 * len(scales) * len(images)


@torch.no_grad()
def test_an_affinity_of_a_frozen_network_reads_pixels_and_no_features():
    network = dict(
        type="mmpretrain.VisionTransformer",
        **COMMON,
        init_cfg=None,
    )
    source = dict(type="FrozenFeatures", backbone=network)
    generator = dict(type="CAMPseudoLabelGenerator", scales=(1.0,))
    plain = build_tiny(pseudo_label_generator=generator).eval()
    affinity = dict(type="FeatureAffinity", power=1, steps=1, source=source)
    spreading = build_tiny(pseudo_label_generator=dict(generator, affinity=affinity))
    # The frozen network is nothing of the model.
    assert spreading.state_dict().keys() == plain.state_dict().keys()
    spreading.load_state_dict(plain.state_dict())
    spreading.eval()
    rgb = 255 * torch.rand(2, 3, *SIZE)
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    )
    images = (rgb - mean) / std
    part = spreading.pseudo_label_generator.affinity
    assert spreading.teacher.pseudo_label_generator.affinity.source is part.source
    cams = spreading.cams(images)
    spread = FeatureAffinity(1, 1)(plain.cams(images).top, part.source(rgb))
    torch.testing.assert_close(cams.top, spread, atol=1e-4, rtol=0)
