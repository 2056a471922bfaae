from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from torch import nn

from mmseg_fsr.engine.hooks import PseudoLabelShareHook
from mmseg_fsr.models.pseudo_labels import present_classes
from tests.support.tiny_segmentor import tiny_cfg

CLASSES = ("background", "cat", "dog", "cow")


class Run:
    """A run whose pseudo labels are given, two images a step."""

    def __init__(self, interval=2, **options):
        self.model = MODELS.build(tiny_cfg(loss_begin=dict(loss_seg=7)))
        self.hub, self.warnings = MessageHub("shares"), []
        dataset = SimpleNamespace(metainfo=dict(classes=CLASSES))
        loader = SimpleNamespace(dataset=dataset)
        self.runner = SimpleNamespace(
            model=self.model,
            iter=0,
            hooks=[LoggerHook(interval=interval)],
            message_hub=self.hub,
            train_loop=SimpleNamespace(dataloader=loader),
            logger=SimpleNamespace(warning=self.warnings.append),
        )
        self.hook = PseudoLabelShareHook(**options)
        self.hook.before_train(self.runner)

    def steps(self, count, given, labels):
        """Steps in which two images get ``given``, ids of four pixels each."""
        maps = torch.tensor(given).view(2, 2, 2)
        for _ in range(count):
            classes = present_classes(torch.tensor(labels).float())
            self.model.label_shares.add(maps, classes)
            self.hook.after_train_iter(self.runner, self.runner.iter)
            self.runner.iter += 1

    def logged(self, name):
        return self.hub.get_scalar(f"train/{name}").data[0].tolist()


HALF_A_CAT, NO_DOG = [1, 1, 0, 255], [0, 0, 0, 255]
LABELS = [[1, 0, 0], [0, 1, 0]]


def test_means_of_each_interval_are_logged():
    run = Run(interval=2)
    run.steps(1, HALF_A_CAT + NO_DOG, LABELS)
    assert not run.hub.log_scalars
    run.steps(4, HALF_A_CAT + NO_DOG, LABELS)
    assert run.logged("label_share/objects") == [0.25, 0.25]
    assert run.logged("label_share/undecided") == [0.25, 0.25]
    assert run.logged("label_share/background") == [0.5, 0.5]
    assert run.logged("class_share/cat") == [0.5, 0.5]
    assert run.logged("class_share/dog") == [0, 0]
    # No image has this label.
    assert "train/class_share/cow" not in run.hub.log_scalars


@pytest.mark.parametrize("metainfo", [{}, dict(classes=None)])
def test_classes_without_names_have_numbers(metainfo):
    run = Run(interval=1)
    run.runner.train_loop.dataloader.dataset.metainfo = metainfo
    run.steps(1, HALF_A_CAT + NO_DOG, LABELS)
    assert run.logged("class_share/1") == [0.5]


def test_a_class_that_gets_nothing_is_warned_of_once():
    run = Run(interval=2, patience=10)
    run.steps(9, HALF_A_CAT + NO_DOG, LABELS)
    assert not run.warnings
    run.steps(30, HALF_A_CAT + NO_DOG, LABELS)
    (warning,) = run.warnings
    assert "class 'dog' no pixel: none in the last 10 images" in warning
    assert "to step 10." in warning
    assert "model.loss_begin.loss_seg, now 7" in warning
    assert f"high_thr, now {run.model.pseudo_label_generator.high_thr}" in warning
    assert "docs/while_it_trains.md" in warning


def test_a_pixel_now_and_then_is_enough():
    run = Run(interval=1, patience=10)
    for _ in range(5):
        run.steps(8, HALF_A_CAT + NO_DOG, LABELS)
        run.steps(1, [*HALF_A_CAT, 2, 0, 0, 0], LABELS)
    assert not run.warnings


def test_steps_without_pseudo_labels_log_nothing():
    run = Run(interval=1)
    run.hook.after_train_iter(run.runner, 0)
    assert not run.hub.log_scalars


def test_other_models_and_runs_without_a_log_are_left_alone():
    run = Run(interval=1)
    run.runner.hooks = []
    run.steps(3, HALF_A_CAT + NO_DOG, LABELS)
    assert not run.hub.log_scalars
    run.runner.model = nn.Linear(2, 2)
    run.hook.before_train(run.runner)
    run.hook.after_train_iter(run.runner, 0)


def test_patience_is_a_number_of_images():
    with pytest.raises(ValueError, match="patience=0, expected 1 image or more"):
        PseudoLabelShareHook(patience=0)
