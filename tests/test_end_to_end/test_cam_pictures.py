"""Pictures of whole runs: they arrive, and the run does not notice."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import VISBACKENDS
from mmengine.runner import Runner
from mmengine.visualization import BaseVisBackend
from PIL import Image

from mmseg_fsr.visualization import draw_sample
from tests.support.nested_equal import assert_equal
from tests.support.runs import load_config, read_checkpoint, train

pytestmark = pytest.mark.slow

TRAIN = "panel_train"
VAL = [f"panel_val_{i:02d}_val_{i:05d}" for i in range(2)]


@VISBACKENDS.register_module(force=True)
class PictureRecorder(BaseVisBackend):
    """Keeps the pictures, as the backends of TensorBoard and W&B would get them."""

    images: list[tuple[str, np.ndarray, int]] = []

    @property
    def experiment(self):
        return self

    def _init_env(self):
        pass

    def add_image(self, name, image, step=0, **kwargs):
        self.images.append((name, image, step))


class Run(NamedTuple):
    """A finished run, its work directory and the pictures of it."""

    runner: Runner
    work_dir: Path
    images: list[tuple[str, np.ndarray, int]]


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """Runs with validation after steps 2 and 4, by the hook's settings."""

    def start(**hook):
        work_dir = tmp_path_factory.mktemp("pictures")
        backends = [dict(type="LocalVisBackend"), dict(type="PictureRecorder")]
        cfg = load_config(
            tiny,
            work_dir,
            train_cfg__val_interval=2,
            val_dataloader__dataset__indices=3,
            # Random draws of the forward pass, for drawing to disturb.
            model__backbone__drop_path_rate=0.5,
            visualizer__vis_backends=backends,
            **{f"default_hooks__cam_visualization__{k}": v for k, v in hook.items()},
        )
        if not hook:
            del cfg.default_hooks["cam_visualization"]
        PictureRecorder.images = []
        return Run(train(cfg), work_dir, PictureRecorder.images)

    return start


@pytest.fixture(scope="module")
def drawn(run):
    return run(interval=1, val_images=len(VAL))


def test_the_run_goes_on_to_the_last_bit_as_without(drawn, run):
    plain = run()
    assert plain.images == []
    for name in ("iter_2.pth", "iter_4.pth"):
        with_hook, without = (
            read_checkpoint(each.work_dir / name) for each in (drawn, plain)
        )
        for part in ("state_dict", "optimizer", "param_schedulers"):
            assert_equal(with_hook[part], without[part], part)


def test_every_backend_gets_the_pictures(drawn):
    assert [(step, name) for name, _, step in drawn.images] == [
        (1, TRAIN),
        (2, TRAIN),
        *((2, name) for name in VAL),
        (3, TRAIN),
        (4, TRAIN),
        *((4, name) for name in VAL),
    ]
    (folder,) = drawn.work_dir.glob("*/vis_data/vis_image")
    assert len(list(folder.iterdir())) == len(drawn.images)
    for name, image, step in drawn.images:
        with Image.open(folder / f"{name}_{step}.png") as picture:
            assert (np.asarray(picture) == image).all()


def test_validation_shows_the_student_beside_a_scored_teacher(drawn):
    model, dataset = drawn.runner.model, drawn.runner.val_dataloader.dataset
    name, panel, _ = drawn.images[-len(VAL)]
    assert name == VAL[0]
    panels = []
    for network in (model, model.teacher):
        with torch.no_grad():
            (sample,) = network.eval().val_step(pseudo_collate([dataset[0]]))
        with Image.open(sample.img_path) as picture:
            image = np.asarray(picture)
        names = {key: dataset.metainfo[key] for key in ("classes", "palette")}
        panels.append(draw_sample(image, sample, **names, max_cams=4))
    student, teacher = panels
    assert np.array_equal(panel, student)
    assert not np.array_equal(panel, teacher)
