"""Steps of the tiny segmentor on given images."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_fsr.engine.hooks import EMATeacherHook
from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX
from tests.support.tiny_segmentor import (
    NUM_CLASSES,
    SIZE,
    build_tiny,
)

CENTERS = ("distill_head.class_center.value", "distill_head.patch_center.value")
# Projections that do not magnify the rounding of sums in another order.
WIDE = dict(
    distill_head=dict(
        type="SelfDistillHead",
        in_channels=8,
        hidden_channels=32,
        bottleneck_channels=32,
        out_channels=64,
    )
)


def draw_images(number: int) -> list[dict[str, Tensor]]:
    """Views, image labels and mask noise of that many images."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape, high=256):
        return torch.randint(high, (number, *shape), generator=generator)

    labels = torch.eye(NUM_CLASSES)[draw(high=NUM_CLASSES)]
    noise = torch.rand(number, SIZE[0] // 16, SIZE[1] // 16, generator=generator)
    return [
        dict(view1=view1, view2=view2, label=label, noise=cells)
        for view1, view2, label, cells in zip(
            draw(3, *SIZE), draw(3, *SIZE), labels, noise, strict=True
        )
    ]


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def split(images: Sequence, size: int) -> list:
    """Batches of ``size`` images."""
    return [images[i : i + size] for i in range(0, len(images), size)]


class NotingWrapper(OptimWrapper):
    """Calls before each step: torch.compile of torch 2.1 disables optimisers' hooks."""

    def __init__(self, note: Callable[[], None], *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._note = note

    def step(self, **kwargs) -> None:
        self._note()
        super().step(**kwargs)


def train_on(
    batches: list[list[dict[str, Tensor]]],
    accumulated: int = 1,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
    pseudo_label: Tensor | None = None,
    device: str = "cpu",
    **parts,
) -> dict:
    """Trains on each batch, as a runner with the teacher's hook would.

    The schedules stand still: a run of more steps is at another place of them.

    Returns:
        ``losses`` and the numbers of ``background`` and ``foreground`` pixels in the
        pseudo labels of each batch, ``gradients`` of each step of the optimiser, and
        the ``state`` at the end.
    """
    torch.manual_seed(0)
    model = build_tiny(**WIDE, **parts).to(device).train()
    hub = MessageHub.get_current_instance()
    hub.update_info("iter", 50)
    hub.update_info("max_iters", 100)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    notes = dict(losses=[], background=[], foreground=[], gradients=[])

    def note_gradients():
        notes["gradients"].append(copied({n: p.grad for n, p in trained.items()}))

    optimizer = torch.optim.SGD(trained.values(), lr=0.1)
    runner = SimpleNamespace(
        model=wrap(model) if wrap else model,
        optim_wrapper=NotingWrapper(
            note_gradients, optimizer, accumulative_counts=accumulated
        ),
        iter=0,
        max_iters=100,
    )
    hook = EMATeacherHook(momentum=0.9)
    hook.before_train(runner)
    runner.iter = 50
    if pseudo_label is not None:
        model.pseudo_label_generator.pseudo_label = lambda images, *_: (
            pseudo_label.expand(len(images), -1, -1)
        )

    def note_pixels(_module, args, _loss):
        background = args[1] == BACKGROUND
        notes["background"].append(background.sum().item())
        foreground = ~background & (args[1] != IGNORE_INDEX)
        notes["foreground"].append(foreground.sum().item())

    model.decode_head.loss_decode.register_forward_hook(note_pixels)
    for index, images in enumerate(batches):
        noise = torch.stack([image["noise"] for image in images]).to(device)
        model.mask_generator.noise = lambda *_, noise=noise: noise
        data = dict(
            inputs={
                view: [image[view] for image in images] for view in ("view1", "view2")
            },
            data_samples=[
                SegDataSample(gt_label=LabelData(label=image["label"]))
                for image in images
            ],
        )
        losses = runner.model.train_step(data, runner.optim_wrapper)
        notes["losses"].append({name: loss.item() for name, loss in losses.items()})
        hook.after_train_iter(runner, index)
    return notes | dict(state=copied(model.state_dict()))


def assert_same_tensors(
    actual: dict[str, Tensor], expected: dict[str, Tensor], rtol: float = 1e-5
) -> None:
    """Compares tensors by name.

    An element near 0 is the difference of larger ones, so each may also be off by that
    share of its tensor's largest; and one tensor is nothing but rounding, the gradient
    of an attention's key bias, which adds the same to all that a softmax compares.
    """
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            actual[name],
            value,
            rtol=rtol,
            atol=rtol * max(value.abs().max().item(), 1e-3),
            msg=lambda m, n=name: f"{n}: {m}",
        )
