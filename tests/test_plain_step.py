"""The step that benchmarks compare with gives the numbers of the slow one."""

import pytest
import torch

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
            weights, teacher, *views, labels, noise=noise, step=step, max_iters=100
        )
        sum(out["losses"].values()).backward()
        results.append((out, {name: x.grad for name, x in weights.items()}))
    (slow, slow_grads), (fast, fast_grads) = results
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
