import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_fsr.models.losses import DenseEnergyLoss
from mmseg_fsr.models.losses.dense_energy_loss import dense_energy
from mmseg_fsr.ops import PermutohedralLattice


def random_inputs(batch=2, classes=5, height=16, width=16):
    images = torch.rand(batch, 3, height, width) * 255
    seg_logits = torch.randn(batch, classes, height, width, requires_grad=True)
    label = torch.randint(0, classes, (batch, height, width))
    label[torch.rand(label.shape) < 0.3] = 255
    return images, seg_logits, label


def slow_energy(images, probs, label, sigma_rgb, sigma_xy):
    """The energy and its gradient at the maps, pixel by pixel."""
    batch, maps, height, width = probs.shape
    energy, gradient = 0.0, torch.zeros_like(probs)
    for b in range(batch):
        pixels = [(y, x) for y in range(height) for x in range(width)]
        points = torch.tensor(
            [
                [x / sigma_xy, y / sigma_xy, *(images[b, :, y, x] / sigma_rgb)]
                for y, x in pixels
            ]
        )
        values = torch.stack([probs[b, :, y, x] for y, x in pixels], dim=1)
        filtered = PermutohedralLattice(points.T[None]).filter(values[None])[0]
        for i, (y, x) in enumerate(pixels):
            gate = 1.0
            if label[b, y, x] != 255:
                gate = max(0.0, 1 - max(probs[b, k, y, x].item() for k in range(maps)))
            for k in range(maps):
                product = gate * filtered[k, i].item()
                energy -= probs[b, k, y, x].item() * product / batch
                gradient[b, k, y, x] = -2 * product / batch
    return energy, gradient


def test_golden_loss_and_gradient(golden):
    settings = dict(golden.meta["energy"])
    loss = DenseEnergyLoss(loss_weight=settings.pop("weight"), **settings)
    images = golden["raw_view1_rgb"].permute(0, 3, 1, 2)
    seg_logits = F.interpolate(
        golden["step/seg_logits"],
        size=images.shape[2:],
        mode="bilinear",
        align_corners=False,
    ).requires_grad_()
    value = loss(images.float(), seg_logits, golden["step/pseudo_label"].long())
    value.backward()
    # ours agrees far closer than a lattice has to (1e-3)
    torch.testing.assert_close(
        value.double(), golden["energy/loss"].double(), rtol=1e-5, atol=0
    )
    want = golden["energy/grad_logits"]
    assert (seg_logits.grad - want).norm() < 1e-5 * want.norm()
    assert (seg_logits.grad - want).abs().max() < 1e-4 * want.abs().max()


@pytest.mark.parametrize("size", [(8, 8), (7, 11), (1, 5)])
def test_energy_and_gradient_agree_with_a_loop(size):
    images, seg_logits, label = random_inputs(3, 4, *size)
    probs = seg_logits.detach().softmax(dim=1).requires_grad_()
    energy = dense_energy(images, probs, label == 255, 40.0, 6.0)
    (2.5 * energy).backward()
    want, gradient = slow_energy(images, probs.detach(), label, 40.0, 6.0)
    assert energy.item() == pytest.approx(want, rel=1e-5)
    torch.testing.assert_close(probs.grad, 2.5 * gradient, rtol=1e-5, atol=1e-6)


def test_loss_takes_the_nearest_pixel_and_the_bilinear_probability():
    images, seg_logits, label = random_inputs(2, 3, 8, 12)
    loss = DenseEnergyLoss(loss_weight=0.3, sigma_rgb=30, sigma_xy=8)
    got = loss(images, seg_logits, label)
    probs = F.avg_pool2d(seg_logits.softmax(dim=1), 2)
    want = 0.3 * dense_energy(
        images[..., ::2, ::2], probs, label[:, ::2, ::2] == 255, 30.0, 4.0
    )
    torch.testing.assert_close(got, want)


def test_full_size_uses_every_pixel():
    images, seg_logits, label = random_inputs(1, 3, 5, 6)
    loss = DenseEnergyLoss(loss_weight=1.0, scale_factor=1.0)
    probs = seg_logits.softmax(dim=1)
    want = dense_energy(images, probs, label == 255, 15.0, 100.0)
    torch.testing.assert_close(loss(images, seg_logits, label), want)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    images, seg_logits, label = random_inputs()
    seg_logits = seg_logits.detach().to(dtype).requires_grad_()
    loss = DenseEnergyLoss(loss_weight=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss(images, seg_logits, label)
    got.backward()
    full = seg_logits.detach().float().requires_grad_()
    want = loss(images, full, label)
    want.backward()
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert seg_logits.grad.dtype == dtype
    torch.testing.assert_close(seg_logits.grad, full.grad.to(dtype))


def test_registered_with_the_recipe_as_default():
    loss = MODELS.build(dict(type="DenseEnergyLoss"))
    assert isinstance(loss, DenseEnergyLoss)
    assert loss.loss_weight == pytest.approx(0.05 * 1e-7)
    assert (loss.sigma_rgb, loss.sigma_xy, loss.scale_factor) == (15, 100, 0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(sigma_rgb=0), "sigma_rgb=0"),
        (dict(sigma_xy=-1), "sigma_xy=-1"),
        (dict(scale_factor=0), "scale_factor must be in .* got 0"),
        (dict(scale_factor=1.5), "scale_factor must be in .* got 1.5"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DenseEnergyLoss(**settings)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_shapes_that_do_not_agree_are_refused(which):
    inputs = list(random_inputs())
    inputs[which] = inputs[which][..., :-1]
    with pytest.raises(ValueError, match="must share B, H and W"):
        DenseEnergyLoss()(*inputs)
