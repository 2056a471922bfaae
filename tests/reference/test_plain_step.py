"""The step that benchmarks compare with gives the numbers of the slow one."""

import pytest
import torch

from mmseg_fsr.models.losses import DenseEnergyLoss

from . import plain_fsr
from .plain_fsr import PlainFSR, moved, random_weights
from .plain_step import PlainStep

NETWORK = dict(
    channels=24, num_layers=3, cls_depth=1, grid=3, patch_size=8, num_classes=4,
    decoder_channels=10, hidden=20, bottleneck=6, out=14,
)  # fmt: skip
METHOD = dict(
    patch_size=8, num_heads=3, dilation=2, aux_layer=-2, cam_scales=(1.0, 1.5),
    low_thr=0.35, high_thr=0.6, block_size=16,
)  # fmt: skip


@pytest.mark.parametrize("step", [7, 50])
def test_losses_and_gradients(step):
    student = random_weights(**NETWORK)
    teacher = moved(student)
    views = torch.randn(2, 3, 3, 48, 32)
    labels = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 1]])
    noise = torch.rand(3, 3, 2)
    results = []
    for plain in (PlainFSR(**METHOD), PlainStep(**METHOD)):
        weights = {name: x.clone().requires_grad_() for name, x in student.items()}
        out = plain.step(
            weights,
            teacher,
            *views,
            labels,
            noise=noise,
            step=step,
            max_iters=100,
            energy=DenseEnergyLoss(loss_weight=1e-4),
        )
        sum(out["losses"].values()).backward()
        results.append((out, {name: x.grad for name, x in weights.items()}))
    (slow, slow_grads), (fast, fast_grads) = results
    assert "loss_energy" in fast["losses"]
    for name in ("mask", "pseudo_label", "cells"):
        differing = (slow[name] != fast[name]).float().mean()
        assert differing < 1e-3, name
    assert {0, 255} < set(slow["cells"].unique().tolist())
    for name, loss in slow["losses"].items():
        torch.testing.assert_close(fast["losses"][name], loss, rtol=1e-4, atol=1e-6)
    for name, grad in slow_grads.items():
        if grad is None:
            assert fast_grads[name] is None, name
        else:
            torch.testing.assert_close(fast_grads[name], grad, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("step", [7, 50])
def test_does_what_nothing_uses(step, monkeypatch):
    """All of the waste that the class's page lists, in either phase."""
    plain, calls = PlainStep(**METHOD), []

    def note(owner, name, describe):
        original = getattr(owner, name)

        def noted(*args, **kwargs):
            calls.append((name, describe(*args)))
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    def nothing(*_):
        return None

    note(PlainStep, "_run_blocks", lambda _, w, x: tuple(x.shape[:2]))
    note(PlainStep, "project", lambda _, w, tokens: tuple(tokens.shape[:2]))
    note(plain_fsr, "refine", nothing)
    student, (view1, view2) = random_weights(**NETWORK), torch.randn(2, 2, 3, 48, 32)
    devices = []

    def energy(rgb, logits, label):
        devices.extend(x.device.type for x in (rgb, logits, label))
        return logits.sum() * 0

    plain.step(
        student, moved(student), view1, view2, torch.tensor([[0, 1, 1, 0]] * 2),
        noise=torch.rand(2, 3, 2), step=step, max_iters=100, energy=energy,
    )  # fmt: skip
    # Three CAMs, of view 1 and twice of view 2, of two scales and their mirror images,
    # through all blocks and the projector; then student and teacher.
    cams = [24] * 2 + [54] * 2
    passes = [shape for name, shape in calls if name == "_run_blocks"]
    assert sorted(passes) == sorted((2, tokens) for tokens in cams * 3 + [24] * 4)
    projected = [shape for name, shape in calls if name == "project"]
    both_views, one_view = (4, 25), (2, 25)
    assert projected.count(both_views) == 1
    assert projected.count(one_view) == 3 * 2 + 2
    assert projected.count((2, 55)) == 3 * 2
    # Each image of both views at each threshold.
    assert [name for name, _ in calls].count("refine") == 2 * 2 * 2
    assert devices == ["cpu"] * 3
