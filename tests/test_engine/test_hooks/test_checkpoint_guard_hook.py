import re
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, IterBasedTrainLoop, TestLoop
from torch import nn

from mmseg_fsr.checkpoints import network_config
from mmseg_fsr.engine.hooks import CheckpointGuardHook, checkpoint_guard_hook
from mmseg_fsr.utils import pixel_range

WEIGHTS = nn.Linear(2, 3).state_dict()
LACKING = dict(weight=WEIGHTS["weight"])
EXTRA = WEIGHTS | {"head.weight": torch.zeros(1)}


_SCHEDULE = dict(
    optim_wrapper=SimpleNamespace(state_dict=dict), param_schedulers=None, max_iters=4
)
NETWORK = dict(backbone=dict(type="ResNet", depth=50, style="pytorch"))
CFG = Config(dict(model=NETWORK))


def guard(
    state_dict,
    resume=False,
    training=True,
    load_from="given.pth",
    theirs={},
    **settings,
):
    runner = SimpleNamespace(
        model=nn.Linear(2, 3),
        # A runner's training loop is a config until it is built.
        _train_loop=object.__new__(IterBasedTrainLoop) if training else dict(),
        _resume=resume,
        _load_from=load_from,
        cfg=CFG,
        **(_SCHEDULE | settings),
    )
    checkpoint = dict(state_dict=state_dict, **theirs)
    CheckpointGuardHook().after_load_checkpoint(runner, checkpoint)


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
    model = nn.Linear(2, 3)
    runner = SimpleNamespace(model=model, _train_loop={}, _resume=False, cfg=CFG)
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


@pytest.mark.parametrize("use", ["test", "train", "resume"])
def test_another_network_of_the_same_shapes(monkeypatch, use):
    lines = []
    monkeypatch.setattr(
        network_config, "print_log", lambda text, *_: lines.append(text)
    )
    theirs = Config(
        dict(model=dict(backbone=NETWORK["backbone"] | dict(style="caffe")))
    )
    meta = dict(cfg=theirs.pretty_text)
    settings = dict(training=use != "test", resume=use == "resume")
    told = r"model\.backbone\.style: 'caffe' in the checkpoint, 'pytorch' in the config"
    if use == "test":
        with pytest.raises(ValueError, match=rf"(?s)^given\.pth: .*{told}"):
            guard(WEIGHTS, theirs=dict(meta=meta), **settings)
        return
    guard(WEIGHTS, theirs=dict(meta=meta), **settings)
    begin = "goes on with" if use == "resume" else "trains"
    assert lines[0].startswith(f"the run {begin} another network")
    assert re.search(told, lines[0])


CLASSES = ("background", "cat", "dog")


def guard_classes(theirs, use="test", resume=False, ours={}, **meta):
    loop = object.__new__(TestLoop if use == "test" else IterBasedTrainLoop)
    dataset = SimpleNamespace(metainfo=dict(classes=CLASSES, **ours))
    loop.dataloader = SimpleNamespace(dataset=dataset)
    loops = dict(_train_loop={}, _test_loop={}, _val_loop={}) | {f"_{use}_loop": loop}
    runner = SimpleNamespace(
        model=nn.Linear(2, 3),
        _resume=resume,
        _load_from="given.pth",
        cfg=CFG,
        **loops,
        **_SCHEDULE,
    )
    meta = dict(dataset_meta=dict(classes=theirs, **meta))
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


@pytest.mark.parametrize(
    ("ours", "theirs", "count"),
    [
        ((0, 255), [0, 4095], 1),
        ([0, 9], (0, 9), 0),
        (None, (0, 9), 0),
        ((0, 9), None, 0),
    ],
)
def test_another_range_of_pixels_is_warned_of(monkeypatch, ours, theirs, count):
    lines = []
    monkeypatch.setattr(pixel_range, "print_log", lambda text, *_: lines.append(text))
    guard_classes(CLASSES, ours=dict(pixel_range=ours), pixel_range=theirs)
    assert len(lines) == count
    if lines:
        assert "is (0, 255) in the config's data set, but (0, 4095) in" in lines[0]


def test_its_runs_read_checkpoints_as_data(monkeypatch):
    schemes = CheckpointLoader._schemes | {"": None}
    monkeypatch.setattr(CheckpointLoader, "_schemes", schemes)
    name = "mmseg_fsr.checkpoints.runner_loaders"
    monkeypatch.delitem(sys.modules, name, raising=False)
    CheckpointGuardHook().before_run(None)
    assert schemes[""].__name__ == "load_from_local"


def test_a_resumed_run_says_what_its_config_does_not_change(monkeypatch):
    lines = []
    monkeypatch.setattr(
        checkpoint_guard_hook, "print_log", lambda text, *_: lines.append(text)
    )
    theirs = dict(
        optimizer=dict(param_groups=[dict(lr=0.1, initial_lr=0.4, params=[0])]),
        param_schedulers=[dict(end=8)],
        message_hub=dict(runtime_info=dict(max_iters=8)),
    )
    ours = dict(param_groups=[dict(lr=0.2, params=[0])])
    guard(
        WEIGHTS,
        resume=True,
        theirs=theirs,
        optim_wrapper=SimpleNamespace(state_dict=lambda: ours),
        max_iters=12,
    )
    assert "  optim_wrapper.optimizer: lr 0.4 (config: 0.2)\n" in lines[0]
    assert "12 steps by the config, 8 by the checkpoint" in lines[1]
    assert "from step 8 on" in lines[1]
    lines.clear()
    guard(WEIGHTS, theirs=theirs)
    assert lines == []


@pytest.mark.parametrize(("step", "count"), [(3, 0), (4, 1), (9, 1)])
def test_a_resumed_run_at_its_end_says_so(monkeypatch, step, count):
    lines = []
    monkeypatch.setattr(
        checkpoint_guard_hook, "print_log", lambda text, *_: lines.append(text)
    )
    guard(WEIGHTS, resume=True, theirs=dict(meta=dict(iter=step)), max_iters=4)
    assert [f"of step {step}" in line for line in lines] == [True] * count
