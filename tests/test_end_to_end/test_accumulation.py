"""``optim_wrapper.accumulative_counts``: several batches for one optimiser step."""

import itertools
from types import SimpleNamespace

import pytest
import torch
import torch.distributed
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules

from mmseg_fsr.engine.hooks import EMATeacherHook
from tests.free_port import free_port
from tests.project_files import TOOLS
from tests.test_models.test_segmentors.tiny_segmentor import (
    NUM_CLASSES,
    SIZE,
    build_tiny,
)

from .conftest import recording
from .runs import own_globals, read_record, run_tool

NUM_STEPS, NUM_PARTS = 2, 2
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


def draw_images(number):
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


def train(batches, accumulated=1, wrap=None, pseudo_label=None, **parts):
    """Runs a step on each batch, as a runner with the teacher's hook would.

    The schedules stand still: a run of more steps is at another place of them.
    """
    torch.manual_seed(0)
    model = build_tiny(**WIDE, **parts).train()
    hub = MessageHub.get_current_instance()
    hub.update_info("iter", 50)
    hub.update_info("max_iters", 100)
    optimizer = torch.optim.SGD(
        [param for param in model.parameters() if param.requires_grad], lr=0.1
    )
    runner = SimpleNamespace(
        model=wrap(model) if wrap else model,
        optim_wrapper=OptimWrapper(optimizer, accumulative_counts=accumulated),
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
    for index, images in enumerate(batches):
        noise = torch.stack([image["noise"] for image in images])
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
        runner.model.train_step(data, runner.optim_wrapper)
        hook.after_train_iter(runner, index)
    return model.state_dict()


def split(images, size):
    return [images[i : i + size] for i in range(0, len(images), size)]


def assert_same_training(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            actual[name], value, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )
    assert all(expected[name].any() for name in CENTERS)


def train_rank(rank, port, folder):
    """What one of ``NUM_PARTS`` processes does: its part of each step's images."""
    torch.set_num_threads(1)
    register_all_modules(init_default_scope=True)
    torch.distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=NUM_PARTS
    )
    batches = split(draw_images(2 * NUM_STEPS * NUM_PARTS), 2)

    def wrap(model):
        return MMDistributedDataParallel(model, broadcast_buffers=False)

    torch.save(train(batches[rank::NUM_PARTS], wrap=wrap), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_equals_as_many_processes(tmp_path):
    torch.multiprocessing.spawn(train_rank, (free_port(), tmp_path), nprocs=NUM_PARTS)
    with own_globals():
        batches = split(draw_images(2 * NUM_STEPS * NUM_PARTS), 2)
        actual = train(batches, accumulated=NUM_PARTS)
    for rank in range(NUM_PARTS):
        expected = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert_same_training(actual, expected)


def test_equals_a_large_batch():
    # Where the losses are means over images: as many pixels of each kind in each
    # batch, and without PTC, whose pairs are counted, plus one, in a batch.
    pseudo_label = torch.zeros(1, *SIZE, dtype=torch.long)
    pseudo_label[:, 5:20], pseudo_label[:, 20:] = 2, 255
    parts = dict(pseudo_label=pseudo_label, affinity_head=None)
    images = draw_images(2 * NUM_STEPS * NUM_PARTS)
    with own_globals():
        actual = train(split(images, 2), accumulated=NUM_PARTS, **parts)
        expected = train(split(images, 2 * NUM_PARTS), **parts)
        other = train(split(images, 2)[:NUM_STEPS], **parts)
    assert_same_training(actual, expected)
    name = "backbone.patch_embed.projection.weight"
    assert not torch.allclose(actual[name], other[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_weights_teacher_and_centres_move_together(tiny, tmp_path):
    config = recording(tiny, tmp_path, "accumulated")
    run_tool(
        TOOLS / "train.py", config, "--work-dir", tmp_path / "work",
        "--cfg-options", "optim_wrapper.accumulative_counts=2",
    )  # fmt: skip
    record = read_record(tmp_path)
    states = [record["start"], *(step["state"] for step in record["steps"])]
    name = "backbone.patch_embed.projection.weight"
    for tensor in (name, f"teacher.{name}", *CENTERS):
        moved = [
            not torch.equal(before[tensor], after[tensor])
            for before, after in itertools.pairwise(states)
        ]
        assert moved == [False, True, False, True], tensor
