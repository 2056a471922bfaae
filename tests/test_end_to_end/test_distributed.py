import math

import pytest
import torch
from mmengine.config import Config

from .conftest import train_distributed

pytestmark = pytest.mark.slow


@pytest.fixture
def ranks(distributed):
    return distributed.ranks


def test_every_phase_trains(ranks, tiny):
    # Unused parameters would have stopped the step after.
    assert not Config.fromfile(tiny).get("find_unused_parameters")
    for record in ranks:
        assert [step["step"] for step in record["steps"]] == [1, 2, 3, 4]
        for step in record["steps"]:
            assert all(map(math.isfinite, step["losses"].values()))
        begun = [
            {name for name, loss in step["losses"].items() if loss != 0}
            for step in record["steps"]
        ]
        assert begun[0].isdisjoint({"loss_seg", "loss_energy", "loss_ptc"})
        assert begun[1] >= {"loss_seg", "loss_energy"}
        assert begun[1].isdisjoint({"loss_ptc"})
        assert begun[2] >= {"loss_seg", "loss_energy", "loss_ptc"}


def test_ranks_see_different_images_and_end_with_one_model(ranks):
    first, second = ranks
    assert [s["images"] for s in first["steps"]] != [
        s["images"] for s in second["steps"]
    ]
    for mine, other in zip(first["steps"], second["steps"], strict=True):
        assert mine["losses"] != other["losses"]
        different = [
            name
            for name, value in mine["state"].items()
            if not torch.equal(value, other["state"][name])
        ]
        # Weights, teacher and centres alike.
        assert different == []
    state = first["steps"][-1]["state"]
    assert state["distill_head.class_center.value"].abs().max() > 0
    assert state["distill_head.patch_center.value"].abs().max() > 0
    name = "backbone.patch_embed.projection.weight"
    assert not torch.equal(state[name], first["start"][name])
    assert not torch.equal(state[name], state[f"teacher.{name}"])


def test_ranks_share_their_scores(ranks):
    first, second = ranks
    assert first["metrics"] == second["metrics"]
    assert {"mIoU", "teacher/mIoU"} <= first["metrics"].keys()


def test_checkpointed_blocks_change_nothing(ranks, tiny, tmp_path):
    layers = ",".join(f"backbone.layers.{i}" for i in range(3))
    option = f"activation_checkpointing={layers}"
    records = train_distributed(tiny, tmp_path, "--cfg-options", option).ranks
    for record, expected in zip(records, ranks, strict=True):
        for step, straight in zip(record["steps"], expected["steps"], strict=True):
            assert step["losses"] == pytest.approx(straight["losses"], rel=1e-5)
