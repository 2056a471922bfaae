"""The demo's pictures and scores, from a finished run."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from tests.support.panel_tiles import tiles_of
from tests.support.project_files import TOOLS, load_tool
from tests.support.runs import run_tool


@pytest.fixture(scope="module")
def demo():
    return load_tool("demo")


def test_draws_five_pictures_side_by_side(straight, tiny, tmp_path):
    checkpoint = straight.work_dir / "iter_4.pth"
    tool = TOOLS / "analysis" / "draw_panels.py"
    run_tool(tool, tiny, checkpoint, tmp_path / "out", "--num", "2")
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert len(pictures) == 2
    with Image.open(pictures[0]) as picture:
        width, height = picture.size
    assert width == 5 * (256 + 4)
    assert height > 256


def test_images_of_one_name_in_several_folders(straight, tiny, tmp_path):
    root = Path(Config.fromfile(tiny).val_dataloader.dataset.data_root)
    names = ["cats/1", "dogs/1"]
    for name, source in zip(names, ["val_00000", "val_00001"], strict=True):
        for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
            target = tmp_path / folder / f"{name}{suffix}"
            target.parent.mkdir(parents=True)
            shutil.copy(root / folder / f"{source}{suffix}", target)
    (tmp_path / "val.txt").write_text("\n".join(names))
    options = dict(data_root=tmp_path, ann_file="val.txt")
    run_tool(
        TOOLS / "analysis" / "draw_panels.py", tiny, straight.work_dir / "iter_4.pth",
        tmp_path / "out", "--cfg-options",
        *(f"val_dataloader.dataset.{key}={value}" for key, value in options.items()),
    )  # fmt: skip
    for name in names:
        assert (tmp_path / "out" / f"{name}.png").is_file()


def test_draws_how_masks_come_about(straight, tiny, tmp_path):
    checkpoint = straight.work_dir / "iter_4.pth"
    tool = TOOLS / "analysis" / "draw_panels.py"
    run_tool(tool, tiny, checkpoint, tmp_path / "a", "--num", "1", "--uncertainty")
    options = [
        f"model.mask_generator.{option}"
        for option in ("strategy=edge_strict", "low_thr=0", "high_thr=0")
    ]
    run_tool(
        tool, tiny, checkpoint, tmp_path / "b", "--num", "1", "--uncertainty",
        "--cfg-options", *options,
    )  # fmt: skip
    for folder in ("a", "b"):
        with Image.open(tmp_path / folder / "val_00000.png") as picture:
            panel = np.asarray(picture)
        assert panel.shape[1] == 4 * (256 + 4)
        _, _, band, blocks = tiles_of(panel, 32, 32)
        # No value lies between equal thresholds.
        assert has_tint(band) == (folder == "a")
        assert (blocks == 255).all(-1).any()


def has_tint(picture):
    """Whether pixels are as orange as those of a band."""
    red, _, blue = np.moveaxis(picture.astype(int), -1, 0)
    return (red - blue > 100).mean() > 0.02


def test_a_network_that_masks_nothing_has_no_such_picture(straight, tiny, tmp_path):
    with pytest.raises(SystemExit, match="has no mask_generator: this config masks"):
        run_tool(
            TOOLS / "analysis" / "draw_panels.py", tiny,
            straight.work_dir / "iter_4.pth", tmp_path, "--uncertainty",
            "--cfg-options", "model.distill_head=None", "model.mask_generator=None",
            "model.teacher=None",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("val_dataloader=None", "has no val_dataloader: it names no images"),
        ("val_dataloader.dataset.data_root=gone", "`data_root` gone is not a folder"),
    ],
)
def test_images_that_are_not_there_are_one_line(
    straight, tiny, tmp_path, option, message
):
    tool = TOOLS / "analysis" / "draw_panels.py"
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        run_tool(
            tool, tiny, straight.work_dir / "iter_4.pth", tmp_path, "--cfg-options",
            option,
        )  # fmt: skip


def test_a_picture_that_is_there_is_only_replaced_on_request(straight, tiny, tmp_path):
    tool = TOOLS / "analysis" / "draw_panels.py"
    arguments = [tiny, straight.work_dir / "iter_4.pth", tmp_path, "--num", "2"]
    old = tmp_path / "val_00001.png"
    old.write_text("mine")
    with pytest.raises(SystemExit, match=r"val_00001\.png exists: .* --overwrite"):
        run_tool(tool, *arguments)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    run_tool(tool, *arguments, "--overwrite")
    with Image.open(old) as picture:
        assert picture.format == "PNG"


def test_an_image_that_cannot_be_read_is_named(straight, tiny, project, tmp_path):
    scenes = shutil.copytree(project / "scenes", tmp_path / "scenes")
    broken = scenes / "JPEGImages" / "val_00001.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    option = f"val_dataloader.dataset.data_root={scenes}"
    tool = TOOLS / "analysis" / "draw_panels.py"
    arguments = [tiny, straight.work_dir / "iter_4.pth", tmp_path / "out"]
    with pytest.raises(SystemExit, match=rf"error: image {broken} cannot be decoded"):
        run_tool(tool, *arguments, "--cfg-options", option)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["val_00000.png"]


def test_demo_reads_the_last_validation(demo, straight):
    scores = demo.validation_scores(straight.work_dir)
    logged = straight.record["metrics"]
    for name in demo.SCORES.values():
        assert scores[name] == pytest.approx(logged[name], abs=1e-6)


def test_demo_stops_at_a_failing_step(demo, capfd):
    with pytest.raises(SystemExit, match="exit code"):
        demo.run("tools/train.py", "no_such_config.py")
    assert "no_such_config.py" in capfd.readouterr().err
