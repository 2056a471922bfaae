"""Images without masks, from a checkpoint to the archive for VOC's server."""

import shutil
import tarfile

import numpy as np
import pytest
from mmengine.config import Config

from mmseg_fsr.datasets.mask_file import read_mask
from tests.support.project_files import TOOLS, load_config, load_tool
from tests.support.runs import run_tool
from tests.support.tiny_config import CROP

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tiny, project, tmp_path):
    """The tiny network under the settings of the config for VOC's test images."""
    scenes = shutil.copytree(project / "scenes", tmp_path / "scenes")
    shutil.rmtree(scenes / "SegmentationClass")
    recipe = load_config("fsr_vit-b_voc-test")
    cfg = Config.fromfile(tiny)
    dataset = cfg.test_dataloader.dataset
    dataset.data_root = str(scenes)
    dataset.data_prefix = recipe.test_dataloader.dataset.data_prefix
    dataset.pipeline = recipe.test_dataloader.dataset.pipeline
    dataset.pipeline[2].scale = (CROP, CROP)
    for key in ("test_evaluator", "tta_pipeline"):
        cfg[key] = recipe[key]
    cfg.model.test_cfg = recipe.model.test_cfg
    path = tmp_path / "config.py"
    cfg.dump(path)
    return path


@pytest.mark.parametrize("options", [[], ["--tta"]], ids=["plain", "tta"])
def test_predicts_and_packs(straight, config, tmp_path, options):
    maps, scenes, out = tmp_path / "maps", tmp_path / "scenes", tmp_path / "out.tar"
    arguments = [config, straight.work_dir / "iter_4.pth", "--out", maps, *options]
    run_tool(TOOLS / "test.py", *arguments, "--work-dir", tmp_path / "work")
    names = (scenes / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    assert sorted(path.stem for path in maps.glob("*.png")) == names
    for name in names:
        assert read_mask(maps / f"{name}.png").shape == (48, 48)
    assert len(np.unique([read_mask(maps / f"{name}.png") for name in names])) > 1

    split = scenes / "ImageSets" / "Segmentation" / "val.txt"
    parts = [str(path) for path in (maps, split, scenes / "JPEGImages", out)]
    load_tool("voc_submission").main(parts)
    with tarfile.open(out) as archive:
        assert len(archive.getnames()) == 4
