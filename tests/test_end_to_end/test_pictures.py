"""The demo's pictures and scores, from a finished run."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from tests.support.panel_tiles import tiles_of
from tests.support.project_files import TOOLS, load_tool
from tests.support.runs import own_globals, run_tool


@pytest.fixture
def draw(straight, tiny):
    """Draws panels of the run's last checkpoint."""

    def draw_panels(*arguments):
        checkpoint = straight.work_dir / "iter_4.pth"
        run_tool(TOOLS / "analysis" / "draw_panels.py", tiny, checkpoint, *arguments)

    return draw_panels


def opened(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_draws_five_pictures_side_by_side(draw, tmp_path):
    draw(tmp_path / "out", "--num", "2")
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert [path.stem for path in pictures] == ["val_00000", "val_00001"]
    height, width, _ = opened(pictures[0]).shape
    assert width == 5 * (256 + 4)
    assert height > 256


def test_images_of_one_name_in_several_folders(draw, tiny, tmp_path):
    root = Path(Config.fromfile(tiny).val_dataloader.dataset.data_root)
    names = ["cats/1", "dogs/1"]
    for name, source in zip(names, ["val_00000", "val_00001"], strict=True):
        for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
            target = tmp_path / folder / f"{name}{suffix}"
            target.parent.mkdir(parents=True)
            shutil.copy(root / folder / f"{source}{suffix}", target)
    (tmp_path / "val.txt").write_text("\n".join(names))
    options = dict(data_root=tmp_path, ann_file="val.txt")
    draw(
        tmp_path / "out", "--cfg-options",
        *(f"val_dataloader.dataset.{key}={value}" for key, value in options.items()),
    )  # fmt: skip
    for name in names:
        assert (tmp_path / "out" / f"{name}.png").is_file()


@pytest.mark.parametrize(
    ("options", "has_band"),
    [
        (["mask_ratio=0.4"], True),
        # No value lies between equal thresholds.
        (["strategy=edge_strict", "low_thr=0", "high_thr=0"], False),
    ],
)
def test_draws_how_masks_are_chosen(draw, tmp_path, options, has_band):
    arguments = [f"model.mask_generator.{option}" for option in options]
    draw(tmp_path, "--num", "1", "--uncertainty", "--cfg-options", *arguments)
    panel = opened(tmp_path / "val_00000.png")
    assert panel.shape[1] == 4 * (256 + 4)
    _, _, band, blocks = tiles_of(panel, 32, 32)
    red, _, blue = np.moveaxis(band.astype(int), -1, 0)
    assert ((red - blue > 100).mean() > 0.02) == has_band
    assert (blocks == 255).all(-1).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["val_dataloader=None"], "has no val_dataloader: it names no images"),
        (["val_dataloader.dataset.data_root=gone"], "`data_root` gone is not a folder"),
        (
            ["model.distill_head=None", "model.mask_generator=None",
             "model.teacher=None", "--uncertainty"],
            "has no mask_generator: this config masks",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_one_line(draw, tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        draw(tmp_path, "--cfg-options", *arguments)


def test_a_picture_that_is_there_is_only_replaced_on_request(draw, tmp_path):
    old = tmp_path / "val_00001.png"
    old.write_text("mine")
    with pytest.raises(SystemExit, match=r"val_00001\.png exists: .* --overwrite"):
        draw(tmp_path, "--num", "2")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    draw(tmp_path, "--num", "2", "--overwrite")
    with Image.open(old) as picture:
        assert picture.format == "PNG"


def test_pictures_do_not_go_among_the_photographs(draw, project):
    before = sorted((project / "scenes" / "JPEGImages").iterdir())
    message = r"error: the output folder .* is the folder of .*\.img_path"
    with pytest.raises(SystemExit, match=message):
        draw(project / "scenes" / "JPEGImages", "--overwrite")
    assert sorted((project / "scenes" / "JPEGImages").iterdir()) == before


def test_an_image_that_cannot_be_read_is_named(draw, project, tmp_path):
    scenes = shutil.copytree(project / "scenes", tmp_path / "scenes")
    broken = scenes / "JPEGImages" / "val_00001.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    option = f"val_dataloader.dataset.data_root={scenes}"
    with pytest.raises(SystemExit, match=rf"error: image {broken} cannot be decoded"):
        draw(tmp_path / "out", "--cfg-options", option)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["val_00000.png"]


def test_demo_keeps_pictures_of_others(tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "val_00000.png").touch()
    monkeypatch.setattr(sys, "argv", ["demo.py", "--work-dir", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"demo: .*pictures holds files .*val_00000"):
        load_tool("demo").main()


def test_demo_runs_its_steps_and_shows_the_last_scores(straight, monkeypatch, capsys):
    demo, commands = load_tool("demo"), []
    monkeypatch.setattr(demo, "run", lambda *command: commands.append(command))
    monkeypatch.setattr(sys, "argv", ["demo.py", "--work-dir", str(straight.work_dir)])
    with own_globals():
        demo.main()
    assert [Path(command[0]).stem for command in commands] == [
        "scenes", "train", "draw_panels", "report",
    ]  # fmt: skip
    printed = capsys.readouterr().out
    for title, name in demo.SCORES.items():
        assert f"  {title:<24}{straight.record['metrics'][name]:6.2f}\n" in printed


def test_demo_stops_at_a_failing_step(capfd):
    with pytest.raises(SystemExit, match="this step failed with exit code 3"):
        load_tool("demo").run("-c", "raise SystemExit(3)")
    assert "$ python -c 'raise SystemExit(3)'" in capfd.readouterr().out
