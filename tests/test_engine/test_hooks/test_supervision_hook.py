from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.runner import BaseLoop

from mmseg_fsr.engine.hooks import SupervisionHook

OWN = "ImageFolderDataset in photographs: image labels"


class Loop(BaseLoop):
    """A loop that is there."""

    def __init__(self):
        pass

    def run(self):
        pass


@pytest.fixture
def runner():
    pipeline = [dict(type="PackImageLabelSegInputs")]
    dataset = dict(
        type="ImageFolderDataset", data_root="photographs", pipeline=pipeline
    )
    told = []
    return SimpleNamespace(
        cfg=Config(dict(train_dataloader=dict(dataset=dataset), model={})),
        logger=SimpleNamespace(info=lambda text, *args: told.append(text % args)),
        told=told,
        _train_loop=Loop(),
        _resume=False,
        _load_from="start.pth",
    )


def saved(hook, runner):
    checkpoint = dict(meta={})
    hook.before_save_checkpoint(runner, checkpoint)
    return checkpoint["meta"]["supervision"]


def test_a_run_says_and_saves_its_supervision(runner):
    hook = SupervisionHook()
    hook.before_train(runner)
    assert runner.told == [f"Supervision: {OWN}"]
    assert saved(hook, runner) == [OWN]


def test_what_the_first_run_had_stays_with_its_weights(runner):
    hook = SupervisionHook()
    meta = dict(supervision=["masks", OWN])
    hook.after_load_checkpoint(runner, dict(meta=meta))
    hook.before_train(runner)
    assert runner.told == [f"Supervision: masks; {OWN}"]
    assert saved(hook, runner) == ["masks", OWN]


@pytest.mark.parametrize("meta", [{}, None, dict(supervision=[1])])
def test_weights_that_say_nothing_are_named(runner, meta):
    hook = SupervisionHook()
    hook.after_load_checkpoint(runner, dict(meta=meta))
    assert saved(hook, runner) == ["start.pth: not stated", OWN]


def test_a_resumed_run_of_an_older_version_goes_on(runner):
    runner._resume = True
    hook = SupervisionHook()
    hook.after_load_checkpoint(runner, dict(meta={}))
    assert saved(hook, runner) == [OWN]


def test_tests_say_nothing(runner):
    runner._train_loop = {}
    hook = SupervisionHook()
    hook.after_load_checkpoint(runner, dict(meta=dict(supervision=["masks"])))
    assert saved(hook, runner) == [OWN]
