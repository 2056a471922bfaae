"""The tool that predicts, on an untrained network."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_fsr.apis import init_model
from mmseg_fsr.datasets.mask_file import read_mask
from tests.support.broken_files import half
from tests.support.project_files import TOOLS
from tests.support.runs import run_tool
from tests.support.tiny_segmentor import shake

CLASSES = ("background", "ball", "crate", "fish", "leaf", "starfish")


@pytest.fixture(scope="module")
def checkpoint(tiny, tmp_path_factory):
    """Random weights that tell places apart."""
    torch.manual_seed(0)
    model = shake(init_model(tiny, device="cpu"))
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    meta = dict(dataset_meta=model.dataset_meta)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@pytest.fixture
def photos(tiny, tmp_path):
    """Four photographs, one of them within another folder."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    scenes = tiny.parent / "scenes" / "JPEGImages"
    for index, name in enumerate(("a", "b", "c", "trip/a")):
        shutil.copy(scenes / f"val_0000{index}.jpg", folder / f"{name}.jpg")
    return folder


@pytest.fixture
def run(tiny, checkpoint, tmp_path):
    def run(*arguments, weights=checkpoint):
        common = [tiny, weights, *arguments, "--device", "cpu"]
        run_tool(TOOLS / "predict.py", *common, "--out", tmp_path / "out")
        return tmp_path / "out"

    return run


def masks(folder):
    root = folder / "masks"
    return {
        path.relative_to(root).with_suffix("").as_posix(): path
        for path in sorted(root.rglob("*.png"))
    }


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--tta", "--crf"), marks=pytest.mark.slow)]
)
def test_masks_equal_those_of_test_py(run, tiny, checkpoint, tmp_path, options):
    run_tool(
        TOOLS / "test.py", tiny, checkpoint, "--out", tmp_path / "tested",
        "--work-dir", tmp_path / "work", *options,
    )  # fmt: skip
    tested = sorted((tmp_path / "tested").glob("*.png"))
    assert len(tested) == 4
    scenes = tiny.parent / "scenes" / "JPEGImages"
    images = [scenes / f"{path.stem}.jpg" for path in tested]
    predicted = masks(run(*images, *options))
    ids = set()
    for path in tested:
        mask = read_mask(predicted[path.stem])
        assert np.array_equal(mask, read_mask(path))
        ids |= set(np.unique(mask))
    assert len(ids) > 2


def test_a_folder_with_a_broken_file_then_whole(run, photos, capsys):
    whole = (photos / "b.jpg").read_bytes()
    half(photos / "b.jpg")
    with pytest.raises(SystemExit, match="problems: 1, shown: 1"):
        run(photos, "--cams", "--probabilities")
    said = capsys.readouterr()
    assert "error: image" in said.err
    assert "b.jpg cannot be decoded" in said.err
    assert said.out.endswith("out: 3 of 4 images predicted\n")
    (photos / "b.jpg").write_bytes(whole)
    out = run(photos, "--cams", "--probabilities")
    said = capsys.readouterr().out
    assert said.endswith("out: 4 of 4 images predicted, 3 of them before\n")
    for kind, suffix in (
        ("masks", "png"), ("overlays", "jpg"), ("cams", "npz"), ("probabilities", "npz")
    ):  # fmt: skip
        found = {
            p.relative_to(out / kind).as_posix() for p in (out / kind).rglob("*.*")
        }
        assert found == {f"{name}.{suffix}" for name in ("a", "b", "c", "trip/a")}
    label = read_mask(out / "masks/trip/a.png")
    with np.load(out / "probabilities/trip/a.npz", allow_pickle=False) as file:
        assert file["classes"].tolist() == list(CLASSES)
        # Rounding makes some classes equal.
        assert (file["probabilities"].argmax(0) == label).mean() > 0.95
    with Image.open(out / "overlays/trip/a.jpg") as overlay:
        assert overlay.size == label.shape[::-1]


def test_other_weights_and_settings_are_refused(run, photos, checkpoint, tmp_path):
    out = run(photos / "a.jpg")
    written = (out / "masks/a.png").read_bytes()
    for options, words in (
        (["--labels", "leaf"], r"masks/a\.png is of .*, not of .*\['leaf'\]"),
        (["--tile", "32"], "tile: null there, 32 now"),
        (["--cfg-options", "test_dataloader.dataset.pipeline.2.scale=(40,40)"],
         "config_sha256: .* there"),
    ):  # fmt: skip
        with pytest.raises(SystemExit, match=f"error: .*{words}"):
            run(photos / "a.jpg", *options)
    other = tmp_path / "other.pth"
    content = torch.load(checkpoint, weights_only=False)
    weights = content["state_dict"]
    next(x for name, x in weights.items() if name.startswith("decode_head")).add_(1)
    torch.save(content, other)
    with pytest.raises(
        SystemExit, match=r"error: .*checkpoint_sha256: \w+\.\.\. there"
    ):
        run(photos / "a.jpg", weights=other)
    assert (out / "masks/a.png").read_bytes() == written
    run(photos / "a.jpg", "--overwrite", weights=other)


def test_label_files_and_names_allow_classes(run, photos, tmp_path):
    labels = {"a": ["leaf"], "b": [], "c": ["ball", "fish"], "trip/a": [1]}
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(labels))
    for name, mask in masks(run(photos, "--labels", file)).items():
        known = {CLASSES.index(x) if isinstance(x, str) else x for x in labels[name]}
        assert set(np.unique(read_mask(mask))) <= {0, *known}
    found = masks(run(photos, "--overwrite", "--labels", "crate", "leaf"))
    ids = set(np.unique([read_mask(mask) for mask in found.values()]))
    assert ids == {0, 2, 4}


def test_large_pictures_in_tiles(run, photos, capsys):
    with Image.open(photos / "a.jpg") as image:
        image.resize((200, 90)).save(photos / "a.jpg")
    out = run(photos, "--tile", "64")
    assert capsys.readouterr().out.endswith("4 of 4 images predicted, 1 in tiles\n")
    assert read_mask(out / "masks/a.png").shape == (90, 200)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["photos/none.jpg"], "photos/none.jpg does not exist"),
        (
            ["photos", "photos/trip"],
            "a.jpg and photos/trip/a.jpg would both be written",
        ),
        (["photos", "--labels", "cat"], "the model does not know cat, but ball, crate"),
        (
            ["photos", "--labels", "labels.npy"],
            "names no images: expected a label file",
        ),
        (["photos", "--labels", "none.json"], "label file none.json does not exist"),
        (["photos", "--tile", "8"], "tile=8: expected at least 16"),
        (["photos", "--tta", "--cfg-options", "tta_model=None"], "needs tta_model in"),
    ],
)
def test_what_does_not_fit_ends_with_one_line(
    run, photos, arguments, words, monkeypatch
):
    monkeypatch.chdir(photos.parent)
    with pytest.raises(SystemExit, match=f"^error: .*{words}"):
        run(*arguments)
    assert not (photos.parent / "out").exists()


def test_no_masks_among_the_data(tiny, checkpoint, photos, run):
    scenes = tiny.parent / "scenes" / "JPEGImages"
    with pytest.raises(SystemExit, match=r"error: --out .*, from which the config"):
        run_tool(
            TOOLS / "predict.py", tiny, checkpoint, photos, "--out", scenes / "new"
        )
    assert not (scenes / "new").exists()


def test_a_file_is_no_folder_for_predictions(run, photos, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SystemExit, match=r"^error: --out \S*/out is a file: name a fo"):
        run(photos)
    assert (tmp_path / "out").read_text() == "mine"
