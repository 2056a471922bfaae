"""Images of 16 bits are the same pictures as those of 8, in every part of a run."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import MMSegInferencer
from PIL import Image

from mmseg_fsr.apis import init_model
from tests.support.project_files import ROOT
from tests.support.runs import own_globals, read_checkpoint, run_tool

pytestmark = pytest.mark.slow

TOOLS = ROOT / "tools"
RANGE = (1000, 1000 + 255 * 16)
# Those of the runs themselves differ in nothing, but name their folder.
WRITTEN = ("maps", "show", "labels", "panels", "attention", "work/vis_data")


def run_everything(folder, tiny, pixel_range):
    """Trains on the scenes in grey, and lets each tool that reads images do so."""
    scenes = shutil.copytree(tiny.parent / "scenes", folder / "scenes")
    for path in (scenes / "JPEGImages").glob("*.jpg"):
        pixels = np.asarray(Image.open(path).convert("L"))
        if pixel_range:
            pixels = RANGE[0] + 16 * pixels.astype(np.uint16)
        Image.fromarray(pixels).save(path.with_suffix(".png"))
        path.unlink()
    cfg = Config.fromfile(tiny)
    for split in ("train", "val", "test"):
        dataset = cfg[f"{split}_dataloader"].dataset
        dataset.update(data_root=str(scenes), img_suffix=".png")
        if pixel_range:
            dataset.metainfo.pixel_range = pixel_range
    cfg.default_hooks.cam_visualization.interval = 2
    config = folder / "config.py"
    cfg.dump(config)
    run_tool(TOOLS / "train.py", config, "--work-dir", folder / "work")
    common = config, folder / "work" / "iter_4.pth"
    options = "--out", folder / "maps", "--show-dir", folder / "show"
    options = *options, "--work-dir", folder / "test"
    run_tool(TOOLS / "test.py", *common, "--tta", "--crf", *options)
    options = "--source", "seg", "--crf", "--out", folder / "labels"
    run_tool(TOOLS / "export_pseudo_labels.py", *common, *options)
    run_tool(TOOLS / "analysis" / "draw_panels.py", *common, folder / "panels")
    run_tool(TOOLS / "analysis" / "attention_entropy.py", *common, folder / "attention")
    run_tool(TOOLS / "report.py", folder / "work")
    with own_globals():
        model = init_model(*common, device="cpu")
        inferencer = MMSegInferencer(model.cfg, str(common[1]), device="cpu")
        image = str(scenes / "JPEGImages" / "val_00000.png")
        sample = inferencer(image, return_datasamples=True)
    return sample.seg_logits.data


def pictures_in(folder: Path) -> dict[str, np.ndarray]:
    """The PNG files that a run wrote, by their place."""
    paths = [path for name in WRITTEN for path in (folder / name).rglob("*.png")]
    paths += (folder / "work").rglob("vis_image/*.png")
    return {
        # Folders of runs have the time in their names.
        f"{path.parent.name}/{path.name}": np.asarray(Image.open(path))
        for path in paths
    }


def test_the_pictures_are_the_same_everywhere(tiny, tmp_path):
    folders, logits = [], []
    for name, pixel_range in (("eight", None), ("deep", RANGE)):
        folders.append(tmp_path / name)
        logits.append(run_everything(folders[-1], tiny, pixel_range))
    eight, deep = (read_checkpoint(folder / "work/iter_4.pth") for folder in folders)
    assert tuple(deep["meta"]["dataset_meta"]["pixel_range"]) == RANGE
    for name, value in eight["state_dict"].items():
        assert torch.equal(deep["state_dict"][name], value), name
    assert torch.equal(*logits)
    expected, found = map(pictures_in, folders)
    assert len(expected) > 20
    assert found.keys() == expected.keys()
    for name, picture in expected.items():
        assert np.array_equal(found[name], picture), name
    pages = [(folder / "work/report.html").read_text() for folder in folders]
    photos = [re.findall(r"data:image/[a-z]+;base64,[\w+/=]+", page) for page in pages]
    assert photos[0] == photos[1] != []
