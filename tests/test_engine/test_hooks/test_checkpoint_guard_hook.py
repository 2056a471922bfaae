from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from mmseg_fsr.engine.hooks import CheckpointGuardHook


class Network(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.linear = nn.Linear(2, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, 4, 2))


def guard(checkpoint, resume, model=None, training=True):
    # A runner's training loop is a config until it is built.
    loop = object.__new__(IterBasedTrainLoop) if training else dict()
    runner = SimpleNamespace(model=model or Network(), _resume=resume, _train_loop=loop)
    CheckpointGuardHook().after_load_checkpoint(runner, checkpoint)


@pytest.mark.parametrize("resume", [True, False])
def test_own_checkpoint_passes(resume):
    guard(dict(state_dict=Network().state_dict()), resume)


def test_bare_state_dict_passes():
    guard(Network().state_dict(), resume=False)


@pytest.mark.parametrize("resume", [True, False])
def test_other_shapes_are_refused(resume):
    checkpoint = dict(state_dict=Network(width=5).state_dict())
    with pytest.raises(ValueError, match=r"linear.weight is \(5, 2\) instead of \(3"):
        guard(checkpoint, resume)


def test_loaded_checkpoint_may_hold_less_or_more():
    weights = Network().state_dict()
    del weights["linear.bias"]
    weights["head.weight"] = torch.zeros(1)
    weights["pos_embed"] = torch.zeros(1, 9, 2)  # resized while loading
    guard(dict(state_dict=weights), resume=False)


def test_loaded_checkpoint_must_hold_something():
    checkpoint = dict(state_dict={"other.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"3 tensors: linear.bias is missing"):
        guard(checkpoint, resume=False)


def test_resumed_checkpoint_must_match_altogether():
    missing = Network().state_dict()
    del missing["linear.bias"]
    with pytest.raises(ValueError, match=r"in 1 tensors: linear\.bias is"):
        guard(dict(state_dict=missing), resume=True)
    more = Network().state_dict() | {"head.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"head.weight is not in the model"):
        guard(dict(state_dict=more), resume=True)
    grid = Network().state_dict() | {"pos_embed": torch.zeros(1, 9, 2)}
    with pytest.raises(ValueError, match=r"pos_embed is \(1, 9, 2\) instead of"):
        guard(dict(state_dict=grid), resume=True)


def test_names_five_tensors_at_most():
    weights = {f"x{i}": torch.zeros(1) for i in range(9)}
    with pytest.raises(ValueError, match=r"in 12 tensors: .*; \.\.\.\. ") as error:
        guard(dict(state_dict=weights), resume=True)
    assert str(error.value).count(" is ") == 5


def test_tested_checkpoint_must_hold_the_student():
    weights = Network().state_dict()
    del weights["linear.bias"]
    with pytest.raises(ValueError, match=r"in 1 tensors: linear\.bias is missing"):
        guard(dict(state_dict=weights), resume=False, training=False)


def test_tested_checkpoint_must_not_be_of_a_deeper_network():
    weights = Network().state_dict() | {"linear.1.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"1 tensors: linear\.1\.weight is not in"):
        guard(dict(state_dict=weights), resume=False, training=False)


def test_tested_checkpoint_may_hold_parts_that_only_training_uses():
    weights = Network().state_dict() | {"distill_head.weight": torch.zeros(1)}
    weights["teacher.linear.weight"] = torch.zeros(1)
    guard(dict(state_dict=weights), resume=False, training=False)


def test_tested_checkpoint_needs_nothing_that_only_training_uses():
    model = Network()
    model.teacher = nn.Linear(2, 2)
    model.distill_head = nn.Linear(2, 2)
    guard(dict(state_dict=Network().state_dict()), False, model, training=False)
