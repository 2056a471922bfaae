import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import CheckpointLoader, IterBasedTrainLoop, TestLoop
from torch import nn

from mmseg_fsr.engine.hooks import CheckpointGuardHook, checkpoint_guard_hook

WEIGHTS = nn.Linear(2, 3).state_dict()
LACKING = dict(weight=WEIGHTS["weight"])
EXTRA = WEIGHTS | {"head.weight": torch.zeros(1)}


def guard(state_dict, resume=False, training=True, load_from="given.pth", **settings):
    runner = SimpleNamespace(
        model=nn.Linear(2, 3),
        # A runner's training loop is a config until it is built.
        _train_loop=object.__new__(IterBasedTrainLoop) if training else dict(),
        _resume=resume,
        _load_from=load_from,
        **settings,
    )
    CheckpointGuardHook().after_load_checkpoint(runner, dict(state_dict=state_dict))


@pytest.mark.parametrize(
    ("state_dict", "settings"),
    [
        (WEIGHTS, dict(resume=True)),
        # Training may start from less or more; tests may find weights of training.
        (LACKING, {}),
        (EXTRA, {}),
        (EXTRA, dict(training=False)),
    ],
)
def test_a_checkpoint_that_fits_passes(state_dict, settings):
    guard(state_dict, **settings)


def test_bare_state_dict_passes():
    runner = SimpleNamespace(model=nn.Linear(2, 3), _train_loop={}, _resume=False)
    CheckpointGuardHook().after_load_checkpoint(runner, WEIGHTS)


@pytest.mark.parametrize(
    ("state_dict", "settings", "message"),
    [
        (LACKING, dict(resume=True), "in 1 tensors: bias is missing"),
        (EXTRA, dict(resume=True), r"head\.weight is not in the model"),
        (LACKING, dict(training=False), "in 1 tensors: bias is missing"),
    ],
)
def test_one_that_does_not_is_refused_by_its_name(state_dict, settings, message):
    message = f"(?s)^given.pth: the checkpoint does not fit.*{message}"
    with pytest.raises(ValueError, match=message):
        guard(state_dict, **settings)


def test_the_file_is_named_as_far_as_it_is_known(tmp_path):
    # As --resume finds it.
    (tmp_path / "last_checkpoint").write_text("found.pth")
    with pytest.raises(ValueError, match=r"^found\.pth: the checkpoint does not fit"):
        guard(LACKING, resume=True, load_from=None, work_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"^the checkpoint does not fit"):
        guard(LACKING, training=False, load_from=None)


CLASSES = ("background", "cat", "dog")


def guard_classes(theirs, use="test", resume=False):
    loop = object.__new__(TestLoop if use == "test" else IterBasedTrainLoop)
    dataset = SimpleNamespace(metainfo=dict(classes=CLASSES))
    loop.dataloader = SimpleNamespace(dataset=dataset)
    loops = dict(_train_loop={}, _test_loop={}, _val_loop={}) | {f"_{use}_loop": loop}
    runner = SimpleNamespace(
        model=nn.Linear(2, 3), _resume=resume, _load_from="given.pth", **loops
    )
    meta = dict(dataset_meta=dict(classes=theirs))
    checkpoint = dict(meta=meta, state_dict=WEIGHTS)
    CheckpointGuardHook().after_load_checkpoint(runner, checkpoint)


@pytest.mark.parametrize("setting", [{}, dict(use="train", resume=True)])
def test_classes_in_another_order_are_refused(setting):
    guard_classes(list(CLASSES), **setting)
    with pytest.raises(ValueError, match=r"^given\.pth: class 1 is 'cat' .* but 'dog'"):
        guard_classes(("background", "dog", "cat"), **setting)


def test_training_anew_may_have_other_classes(monkeypatch):
    lines = []
    monkeypatch.setattr(
        checkpoint_guard_hook, "print_log", lambda text, *_: lines.append(text)
    )
    guard_classes(("background", "dog", "cat"), use="train")
    assert "class 1 is 'cat' in the config's data set" in lines[0]


def test_its_runs_read_checkpoints_as_data(monkeypatch):
    schemes = CheckpointLoader._schemes | {"": None}
    monkeypatch.setattr(CheckpointLoader, "_schemes", schemes)
    name = "mmseg_fsr.checkpoints.runner_loaders"
    monkeypatch.delitem(sys.modules, name, raising=False)
    CheckpointGuardHook().before_run(None)
    assert schemes[""].__name__ == "load_from_local"
