"""Runs that can be repeated, whole or in parts."""

import itertools
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_fsr.datasets import ImageLabelDataset
from tests.support.broken_files import half
from tests.support.nested_equal import assert_equal
from tests.support.project_files import TOOLS
from tests.support.recorded_runs import (
    assert_resumed_as,
    assert_same_end,
    train_distributed,
    train_resumed,
    train_straight,
)
from tests.support.runs import run_tool


def batches(tiny, number, **loader):
    """The first batches of the tiny config's data loader."""
    # Not `update`, which would merge data sets.
    cfg = {**Config.fromfile(tiny).train_dataloader, **loader}
    found = []
    for batch in itertools.islice(Runner.build_dataloader(cfg, seed=0), number):
        names = [sample.img_path for sample in batch["data_samples"]]
        found.append((names, batch["inputs"]))
    return found


def test_augmented_batches_do_not_depend_on_the_number_of_workers(tiny):
    expected = batches(tiny, 4)
    for seed, workers in enumerate((0, 1, 2)):
        np.random.seed(seed + 1)  # noqa: NPY002
        torch.manual_seed(seed + 1)
        for (names, views), (other_names, other_views) in zip(
            batches(tiny, 4, num_workers=workers), expected, strict=True
        ):
            assert names == other_names
            for view in ("view1", "view2"):
                assert all(map(torch.equal, views[view], other_views[view]))
    images = torch.stack([image for _, views in expected for image in views["view1"]])
    assert len(images.unique(dim=0)) == len(images) == 8


def repeated(dataset):
    return dict(type="RepeatDataset", times=2, dataset=dataset)


def concatenated(dataset):
    return dict(type="ConcatDataset", datasets=[dataset, repeated(dataset)])


def balanced(dataset):
    return dict(type="ClassBalancedDataset", oversample_thr=0.9, dataset=dataset)


@pytest.mark.parametrize("wrap", [repeated, concatenated, balanced])
def test_so_it_is_inside_wrappers_and_with_images_left_out(
    project, tiny, tmp_path, wrap
):
    scenes = shutil.copytree(project / "scenes", tmp_path / "scenes")
    half(scenes / "JPEGImages" / "train_00003.jpg")
    dataset = Config.fromfile(tiny).train_dataloader.dataset
    dataset.update(data_root=str(scenes), on_bad_image="skip", max_bad_share=0.5)
    expected = batches(tiny, 9, dataset=wrap(dataset))
    names = {name for names, _ in expected for name in names}
    assert len(names) > 6
    assert not any("train_00003" in name for name in names)
    for seed, workers in enumerate((1, 2)):
        np.random.seed(seed + 1)  # noqa: NPY002
        torch.manual_seed(seed + 1)
        found = batches(tiny, 9, dataset=wrap(dataset), num_workers=workers)
        assert_equal(found, expected)


def test_a_resumed_run_is_the_run_in_one_go(straight, resumed):
    assert resumed.record["metrics"].keys() >= {"mIoU", "teacher/mIoU"}
    assert_resumed_as(resumed, straight)


def test_a_resumed_run_reads_no_image_of_the_steps_before(
    tiny, resumed, tmp_path, monkeypatch
):
    reads = []
    prepare_data = ImageLabelDataset.prepare_data

    def count(self, idx):
        if not self.test_mode:
            reads.append(idx)
        return prepare_data(self, idx)

    monkeypatch.setattr(ImageLabelDataset, "prepare_data", count)
    shutil.copy(resumed.work_dir / "iter_2.pth", tmp_path)
    run_tool(TOOLS / "train.py", tiny, "--work-dir", tmp_path, "--resume")
    assert (tmp_path / "iter_4.pth").is_file()
    # Two steps of two images.
    assert len(reads) == 4


def test_so_it_is_in_mixed_precision(tiny, straight, tmp_path, monkeypatch):
    # mmengine offers it on a GPU alone, where sums come in any order; a GPU is also
    # what the loss scale of float16 needs.
    wrapper = "mmengine.optim.optimizer.amp_optimizer_wrapper"
    monkeypatch.setattr(f"{wrapper}.is_cuda_available", lambda: True)
    options = ("--amp", "--cfg-options", "optim_wrapper.dtype=bfloat16")
    runs = []
    for train in (train_straight, train_resumed):
        folder = tmp_path / train.__name__
        folder.mkdir()
        runs.append(train(tiny, folder, *options))
    assert_resumed_as(runs[1], runs[0])
    losses = [run.record["steps"][0]["losses"] for run in (runs[0], straight)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.fixture
def _any_algorithm_again():
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_any_algorithm_again")
def test_a_seed_gives_the_same_run_again(tiny, tmp_path):
    options = ("--cfg-options", "randomness.deterministic=True")
    work_dirs = [tmp_path / name for name in ("one", "same", "other")]
    for work_dir, seed in zip(work_dirs, (0, 0, 1), strict=True):
        run_tool(
            TOOLS / "train.py", tiny, "--work-dir", work_dir, *options,
            f"randomness.seed={seed}",
        )  # fmt: skip
    assert_same_end(*work_dirs[:2])
    with pytest.raises(AssertionError):
        assert_same_end(*work_dirs[1:])


def test_two_processes_resume_as_exactly(tiny, distributed, tmp_path):
    train_distributed(tiny, tmp_path, stop_after=2, returncode=1)
    resumed = train_distributed(tiny, tmp_path, "--resume")
    assert_resumed_as(resumed, distributed)
