from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from mmseg_fsr.engine.hooks import CheckpointGuardHook

WEIGHTS = nn.Linear(2, 3).state_dict()
LACKING = dict(weight=WEIGHTS["weight"])
EXTRA = WEIGHTS | {"head.weight": torch.zeros(1)}


def guard(checkpoint, resume, training=True, **settings):
    runner = SimpleNamespace(
        model=nn.Linear(2, 3),
        _resume=resume,
        # A runner's training loop is a config until it is built.
        _train_loop=object.__new__(IterBasedTrainLoop) if training else dict(),
        **{"_load_from": "given.pth", **settings},
    )
    CheckpointGuardHook().after_load_checkpoint(runner, checkpoint)


@pytest.mark.parametrize("resume", [True, False])
def test_own_checkpoint_passes(resume):
    guard(dict(state_dict=WEIGHTS), resume)


def test_bare_state_dict_passes():
    guard(WEIGHTS, resume=False)


def test_training_may_start_from_less_or_more():
    guard(dict(state_dict=LACKING), resume=False)
    guard(dict(state_dict=EXTRA), resume=False)


def test_resumed_checkpoint_must_match_altogether():
    with pytest.raises(ValueError, match=r"in 1 tensors: bias is missing"):
        guard(dict(state_dict=LACKING), resume=True)
    with pytest.raises(ValueError, match=r"head\.weight is not in the model"):
        guard(dict(state_dict=EXTRA), resume=True)


def test_tested_checkpoint_must_hold_the_model():
    with pytest.raises(ValueError, match=r"in 1 tensors: bias is missing"):
        guard(dict(state_dict=LACKING), resume=False, training=False)
    guard(dict(state_dict=EXTRA), resume=False, training=False)


def test_the_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^given\.pth: the checkpoint does not fit"):
        guard(LACKING, resume=False, training=False)
    # As --resume finds it.
    (tmp_path / "last_checkpoint").write_text("found.pth")
    with pytest.raises(ValueError, match=r"^found\.pth: the checkpoint does not fit"):
        guard(LACKING, resume=True, _load_from=None, work_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"^the checkpoint does not fit"):
        guard(LACKING, resume=False, training=False, _load_from=None)
