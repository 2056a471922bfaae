"""``optim_wrapper.accumulative_counts``: several batches for one optimiser step."""

import itertools

import torch

from tests.support.image_steps import (
    CENTERS,
    assert_same_tensors,
    draw_images,
    split,
    train_on,
)
from tests.support.project_files import TOOLS
from tests.support.recorded_runs import recording
from tests.support.runs import own_globals, read_record, run_tool
from tests.support.tiny_segmentor import SIZE

NUM_STEPS, NUM_PARTS = 2, 2


def test_equals_a_large_batch():
    # Where the losses are means over images: as many pixels of each kind in each
    # batch, and without PTC, whose pairs are counted, plus one, in a batch.
    pseudo_label = torch.zeros(1, *SIZE, dtype=torch.long)
    pseudo_label[:, 5:20], pseudo_label[:, 20:] = 2, 255
    parts = dict(pseudo_label=pseudo_label, affinity_head=None)
    images = draw_images(2 * NUM_STEPS * NUM_PARTS)
    with own_globals():
        actual = train_on(split(images, 2), accumulated=NUM_PARTS, **parts)["state"]
        expected = train_on(split(images, 2 * NUM_PARTS), **parts)["state"]
        other = train_on(split(images, 2)[:NUM_STEPS], **parts)["state"]
    assert_same_tensors(actual, expected)
    assert all(expected[name].any() for name in CENTERS)
    name = "backbone.patch_embed.projection.weight"
    assert not torch.allclose(actual[name], other[name], rtol=1e-4, atol=1e-6)


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
