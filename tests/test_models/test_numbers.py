"""Any shape and magnitude gives finite numbers in their range, gradients included."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmseg_fsr.models.backbones import FSRFeatures
from mmseg_fsr.models.heads import CAMHead
from mmseg_fsr.models.heads.ptc_head import affinity_from_labels, affinity_loss
from mmseg_fsr.models.heads.self_distill_head import distillation_loss
from mmseg_fsr.models.losses import BalancedCrossEntropyLoss, DenseEnergyLoss
from mmseg_fsr.models.losses.balanced_cross_entropy_loss import balanced_cross_entropy
from mmseg_fsr.models.pseudo_labels import (
    CAMPseudoLabelGenerator,
    PixelAdaptiveRefinement,
)
from mmseg_fsr.models.pseudo_labels.cam_pseudo_label_generator import cams_to_label
from mmseg_fsr.models.pseudo_labels.class_activation_maps import (
    merge_mirrored,
    normalize_cams,
)
from mmseg_fsr.ops import PermutohedralLattice
from tests.support.own_cams import own_cams

DTYPES = [torch.float32, torch.bfloat16]
SIZE = st.integers(1, 6)
# bfloat16 has the range of float32: 1e4 is far beyond what a network gives.
MAGNITUDE = st.sampled_from([0.0, 1e-30, 1e-6, 1.0, 50.0, 1e4])
SEED = st.integers(0, 2**16)


def examples(count):
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=[*HealthCheck],
    )


def normal(seed, magnitude, dtype, *shape):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * magnitude).to(dtype)


def labels(seed, classes, *shape):
    """Class ids and 255; of one kind alone for some seeds."""
    generator = torch.Generator().manual_seed(seed)
    choices = [torch.arange(classes), torch.tensor([0, 1, 255]), torch.tensor([255])]
    ids = torch.cat(choices[: 1 + seed % 3] if seed % 4 else [choices[seed % 3]])
    return ids[torch.randint(len(ids), shape, generator=generator)]


def check_gradient(loss, *inputs):
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    loss.backward()
    for value in inputs:
        assert value.grad.dtype == value.dtype
        assert value.grad.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=SEED, magnitude=MAGNITUDE, batch=SIZE, height=SIZE, width=SIZE)
@examples(40)
def test_segmentation_losses(dtype, seed, magnitude, batch, height, width):
    classes = 2 + seed % 4
    label = labels(seed, classes, batch, height, width)
    logits = normal(seed, magnitude, dtype, batch, classes, height, width)
    loss = BalancedCrossEntropyLoss()(logits.requires_grad_(), label)
    check_gradient(loss, logits)
    # Each half is at most the largest difference of logits and a softmax's share.
    spread = logits.detach().float().amax(1) - logits.detach().float().amin(1)
    assert 0 <= loss <= spread.max() + math.log(classes) + 1e-5

    images = normal(seed, 1, torch.float32, batch, 3, height, width).sigmoid() * 255
    logits = logits.detach().requires_grad_()
    energy = DenseEnergyLoss(loss_weight=1.0)(images, logits, label)
    check_gradient(energy, logits)
    pixels = max(1, height // 2) * max(1, width // 2)
    # No kernel weight exceeds 1, no probability either.
    assert -(pixels**2) * 1.01 <= energy <= 0


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=SEED, magnitude=MAGNITUDE, batch=SIZE, height=SIZE, width=SIZE)
@examples(40)
def test_affinity_loss(dtype, seed, magnitude, batch, height, width):
    label = labels(seed, 3, batch, height, width)
    features = normal(seed, magnitude, dtype, batch, 1 + seed % 7, height, width)
    loss = affinity_loss(features.requires_grad_(), affinity_from_labels(label))
    check_gradient(loss, features)
    assert -1e-5 <= loss <= 1 + 1e-5


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=SEED, magnitude=MAGNITUDE, tokens=SIZE, width=st.integers(1, 40))
@examples(40)
def test_distillation_loss(dtype, seed, magnitude, tokens, width):
    student = normal(seed, magnitude, dtype, tokens, width).requires_grad_()
    teacher = normal(seed + 1, magnitude, dtype, tokens, width)
    center = normal(seed + 2, magnitude, torch.float32, width)
    losses = distillation_loss(student, teacher, center, 0.1, 0.04)
    assert losses.shape == (tokens,)
    check_gradient(losses.mean(), student)
    # A cross-entropy is at most the student's spread over its temperature.
    values = student.detach().float()
    spread = (values.amax(1) - values.amin(1)) / 0.1 + math.log(width)
    assert (losses >= -1e-5).all()
    assert (losses <= spread * (1 + 1e-5) + 1e-5).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pooling", ["max", "avg"])
@given(seed=SEED, magnitude=MAGNITUDE, batch=SIZE, height=SIZE, width=SIZE)
@examples(25)
def test_classification_losses(dtype, pooling, seed, magnitude, batch, height, width):
    torch.manual_seed(seed)
    head = CAMHead(3, in_channels=4, aux_in_channels=2, pooling=pooling).to(dtype)
    aux = normal(seed, magnitude, dtype, batch, 2, height, width).requires_grad_()
    feat = normal(seed + 1, magnitude, dtype, batch, 4, height, width).requires_grad_()
    features = FSRFeatures(aux, feat)
    image_labels = (normal(seed + 2, 1, torch.float32, batch, 3) > 0).float()
    losses = head.loss(features, image_labels)
    assert all(loss >= 0 for loss in losses.values())
    check_gradient(sum(losses.values()), aux, feat)
    for maps in head.cams(features):
        assert maps.dtype == torch.float32
        assert maps.isfinite().all()
        assert (maps >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=SEED, magnitude=MAGNITUDE, batch=SIZE, height=SIZE, width=SIZE)
@examples(30)
def test_cams_and_labels(dtype, seed, magnitude, batch, height, width):
    raw = normal(seed, magnitude, dtype, 2 * batch, 3, height, width).relu()
    size = (1 + seed % 9, 2 + seed % 7)
    merged = merge_mirrored(raw, size)
    assert merged.shape == (batch, 3, *size)
    assert merged.dtype == torch.float32
    assert (merged >= 0).all()
    assert (merged <= raw.float().max() * (1 + 1e-6)).all()
    cams = normalize_cams(merged)
    assert cams.isfinite().all()
    assert (cams.amin((2, 3)) == 0).all()
    assert (cams <= 1).all()

    image_labels = (normal(seed + 2, 1, torch.float32, batch, 3) > 0).float()
    low = (seed % 11) / 10
    high = low + (1 - low) * (seed % 5) / 4
    own = own_cams(cams, image_labels)
    label = cams_to_label(*own, low, high)
    images = normal(seed, 1, torch.float32, batch, 3, *size).sigmoid() * 255
    generator = CAMPseudoLabelGenerator(
        low_thr=low,
        high_thr=high,
        refiner=dict(type="PixelAdaptiveRefinement", num_iter=2, dilations=(1, 2)),
    )
    for found in (label, generator.pseudo_label(images, *own)):
        assert found.shape == (batch, *size)
        for of_image, classes in zip(found, image_labels, strict=True):
            allowed = {0, 255, *(classes.nonzero().flatten() + 1).tolist()}
            assert set(of_image.unique().tolist()) <= allowed


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=SEED, magnitude=MAGNITUDE, batch=SIZE, height=SIZE, width=SIZE)
@examples(30)
def test_refinement_stays_within_the_maps(dtype, seed, magnitude, batch, height, width):
    images = normal(seed, 1, dtype, batch, 3, height, width).sigmoid()
    if seed % 3 == 0:
        images = images.round()
    maps = normal(seed + 1, magnitude, dtype, batch, 2, 1 + seed % 5, width)
    par = PixelAdaptiveRefinement(num_iter=3, dilations=(1, 2, 5))
    kernel = par.kernel(images)
    assert (kernel >= 0).all()
    torch.testing.assert_close(kernel.sum(1), torch.full_like(kernel[:, 0], 1.01))
    refined = par(images, maps)
    assert refined.dtype == torch.float32
    assert refined.shape == (batch, 2, height, width)
    # A kernel of sum 1.01, three times.
    assert (refined.abs() <= maps.float().abs().max() * 1.01**3 * 1.0001).all()


@given(
    seed=SEED,
    magnitude=st.sampled_from([0.0, 1e-30, 1e-6, 1.0, 50.0]),
    spread=st.sampled_from([0.0, 1e-6, 1.0, 30.0]),
    points=st.integers(1, 30),
    dim=st.integers(1, 6),
)
@examples(60)
def test_lattice(seed, magnitude, spread, points, dim):
    features = normal(seed, spread, torch.float32, 2, dim, points)
    lattice = PermutohedralLattice(features)
    ones = lattice.filter(torch.ones(2, 1, points))
    assert ones.isfinite().all()
    assert (ones > 0).all()
    assert (ones <= points * 1.001).all()
    for dtype in DTYPES:
        values = normal(seed + 1, magnitude, dtype, 2, 3, points)
        filtered = lattice.filter(values)
        assert filtered.dtype == torch.float32
        assert filtered.isfinite().all()
        largest = values.float().abs().amax(2, keepdim=True)
        assert (filtered.abs() <= largest * ones * 1.001).all()
    normalized = PermutohedralLattice(features, normalized=True)
    assert normalized.filter(torch.ones(2, 1, points)).isfinite().all()


def in_double(function, *shapes, seed=0):
    """Compares the function's gradients with differences, in float64."""
    torch.manual_seed(seed)
    inputs = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    return torch.autograd.gradcheck(function, [x.requires_grad_() for x in inputs])


@pytest.fixture
def without_float32(monkeypatch):
    """Lets the losses keep float64, which they compute in float32 otherwise."""
    monkeypatch.setattr(torch.Tensor, "float", lambda x: x.double())


@pytest.mark.usefixtures("without_float32")
@pytest.mark.parametrize("seed", range(4))
def test_gradients_are_those_of_the_values(seed):
    label = labels(seed, 3, 2, 3, 2)
    affinity = affinity_from_labels(label)
    image_labels = torch.eye(3, dtype=torch.float64)[:2]
    teacher, center = torch.randn(2, 4, 5, dtype=torch.float64)
    torch.manual_seed(seed)
    head = CAMHead(3, in_channels=4, aux_in_channels=2).double()
    assert in_double(
        lambda logits: balanced_cross_entropy(logits, label), (2, 3, 3, 2), seed=seed
    )
    assert in_double(
        lambda maps: affinity_loss(maps, affinity), (2, 4, 3, 2), seed=seed
    )
    assert in_double(
        lambda student: distillation_loss(student, teacher, center[0], 0.1, 0.04),
        (4, 5),
        seed=seed,
    )
    assert in_double(
        lambda aux, feat: tuple(
            head.loss(FSRFeatures(aux, feat), image_labels).values()
        ),
        (2, 2, 3, 2),
        (2, 4, 3, 2),
        seed=seed,
    )
