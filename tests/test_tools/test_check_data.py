"""The tool that reads all data of a config; each fault is seeded in a folder."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.support.project_files import CONFIGS, TOOLS
from tests.support.runs import run_tool
from tests.support.voc_folder import write_voc

TRAIN, VAL = ["a", "b", "c", "d"], ["p", "q", "r"]
SPLITS = ("train", "val", "test")
SIZE = (10, 6)
LABELS = dict(a=["cat"], b=["dog"], c=[], d=["cat"], p=["cat"], q=["dog"], r=[])


@pytest.fixture
def pets(tmp_path):
    """A folder whose seven images and three masks are right."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
    for name in TRAIN + VAL:
        Image.fromarray(pixels).save(tmp_path / f"images/{name}.jpg")
    for name in VAL:
        mask = np.zeros((6, 10), np.uint8)
        mask[:2, :3] = 1 + VAL.index(name) % 2
        Image.fromarray(mask).save(tmp_path / f"masks/{name}.png")
    (tmp_path / "train.txt").write_text("\n".join(TRAIN))
    (tmp_path / "val.txt").write_text("\n".join(VAL))
    (tmp_path / "image_labels.json").write_text(json.dumps(LABELS))
    return tmp_path


@pytest.fixture
def check(pets, capsys):
    """Runs the tool on the folder; returns its exit code, output and errors."""

    def run(*arguments, masks=True, **settings):
        bases = [f"{CONFIGS}/_base_/models/fsr_r50.py"]
        bases += [f"{CONFIGS}/_base_/recipes/small_data.py"]
        (pets / "config.py").write_text(
            f"_base_ = {bases}\n"
            "from mmseg_fsr.own_data import own_data_settings\n"
            f"globals().update(own_data_settings(_base_, data_root='{pets}/', "
            "classes=('background', 'cat', 'dog'), "
            f"masks={masks}, **{settings}))\n"
        )
        return check_config(capsys, pets / "config.py", *arguments)

    return run


def check_config(capsys, config, *arguments):
    code = 0
    try:
        run_tool(TOOLS / "check_data.py", config, "--workers", 0, *arguments)
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    lines = said.err.splitlines()
    return code, said.out, [x[7:] for x in lines if x.startswith("error: ")]


@pytest.mark.parametrize("workers", [0, 2])
def test_right_data_are_counted_once(check, workers):
    code, out, errors = check("--workers", workers)
    assert (code, errors) == (0, [])
    assert out.endswith(
        "\ntrain: 4 images\nval: 3 images\ntest: 3 images\n"
        "sizes in pixels: 10 x 6 to 10 x 6, the median is 10 x 6\n"
        "read 7 images and 3 masks, nothing is wrong\n"
    )


def test_a_split_alone(check):
    _, out, _ = check("--splits", "train")
    assert "val" not in out
    assert "read 4 images and 0 masks" in out


def half(path):
    path.write_bytes(path.read_bytes()[:-80])


def deep(path):
    path.unlink()
    values = np.full((6, 10), 40_000, np.uint16)
    Image.fromarray(values).save(path.with_suffix(".png"))


def colours(path):
    Image.open(path).convert("RGB").save(path)


def narrow(path):
    Image.new("L", (5, 6)).save(path)


def strange(path):
    mask = np.array(Image.open(path))
    mask[0, :2] = 37
    mask[5] = 255
    Image.fromarray(mask).save(path)


FAULTS = [
    ("images/a.jpg", half, r"image .*/a\.jpg cannot be decoded .*: replace the file"),
    ("images/b.jpg", deep, r"image .*/b\.png has uint16 pixels .* pixel_range="),
    ("images/d.jpg", lambda path: path.unlink(), r"image .*/d\.jpg does not exist"),
    ("masks/p.png", colours, r"mask .*/p\.png has 3 channels, .*: convert"),
    ("masks/q.png", lambda path: path.unlink(), r"mask .*/q\.png does not exist: add"),
    ("masks/q.png", half, r"mask .*/q\.png cannot be decoded .*: replace the file"),
    ("masks/r.png", narrow, r"mask .* is 5 x 6 pixels, its image .* 10 x 6: save"),
    ("masks/p.png", strange, r"mask .* class ids \[37\]: .*; 2 of 60 pixels have"),
    (
        "train.txt",
        lambda path: path.write_text("a\nb\nc\nd\nq"),
        r"images in train and also in val and test: 1 \(q\): remove",
    ),
    (
        "image_labels.json",
        lambda path: path.write_text(json.dumps({x: LABELS[x] for x in "abdpqr"})),
        r"label file .* has no line for image 'c'",
    ),
]


@pytest.mark.parametrize(("file", "spoil", "message"), FAULTS)
def test_a_fault_is_named_once(check, pets, file, spoil, message):
    spoil(pets / file)
    code, out, errors = check()
    assert code == "problems: 1, shown: 1"
    assert len(errors) == 1
    assert re.match(message, errors[0].removeprefix("train: "))
    assert "nothing is wrong" not in out


def test_all_faults_of_several_files_are_named(check, pets):
    chosen = [FAULTS[i] for i in (0, 1, 2, 3, 4, 6, 8)]
    for file, spoil, _ in chosen:
        spoil(pets / file)
    code, out, errors = check()
    assert code == "problems: 7, shown: 7"
    for _, _, message in chosen:
        assert sum(bool(re.match(message, error)) for error in errors) == 1
    # Left are c; q is of both lists, and its mask is missing.
    assert "read 1 images and 0 masks\n" in out


def test_deeper_images_are_right_with_a_range(check, pets):
    deep(pets / "images/b.jpg")
    assert check(metainfo=dict(pixel_range=(0, 65535)))[0] == 0


def test_masks_without_one_are_one_fault(check):
    code, out, errors = check(seg_map_suffix="_ids.png")
    assert code == "problems: 2, shown: 2"
    for split, error in zip(("val", "test"), errors, strict=True):
        assert re.match(
            rf"{split}: none of the 3 images has a mask .*p_ids\.png", error
        )
    assert "read 7 images and 0 masks\n" in out


def test_masks_of_0_and_255_are_one_fault(check, pets):
    for name in VAL:
        Image.new("L", SIZE, 255).save(pets / f"masks/{name}.png")
    _, out, (error,) = check()
    assert error.startswith("no mask shows any foreground class (cat, dog)")
    assert "read 7 images and 3 masks\n" in out


def test_a_class_that_no_mask_shows(check, pets):
    (pets / "masks/q.png").write_bytes((pets / "masks/p.png").read_bytes())
    code, out, _ = check()
    assert code == 0
    assert "no mask shows the classes dog" in out


def test_labels_alone_within_a_wrapper_and_images_that_are_too_large(check, pets):
    (pets / "val.txt").write_text("p\nr\n")
    Image.new("RGB", (400, 300)).save(pets / "images/p.jpg")
    code, out, _ = check(masks=False, oversample_thr=0.5, crop_size=32)
    assert code == 0
    assert "no label shows the classes dog" in out
    assert "labels of" in out.split("test: 2 images")[1]
    assert "sizes in pixels: 10 x 6 to 400 x 300, the median is 10 x 6\n" in out
    assert "times the pixels of the crop" not in out
    for name in TRAIN:
        Image.new("RGB", (400, 300)).save(pets / f"images/{name}.jpg")
    assert (
        "has 117 times the pixels of the crop, 32 x 32,"
        in check(masks=False, crop_size=32)[1]
    )


def test_settings_that_a_part_lacks_are_named(check):
    loader = dict(num_wokers=1, dataset=dict(pipeline=[dict(type="Rezise")]))
    settings = {"model.affinity_head.loss_wieght": 1, "train_dataloader": loader}
    _, out, errors = check(settings=settings)
    for words in (
        "PTCHead .* 'loss_weight'",
        "Rezise",
        "DataLoader .* 'num_workers'",
    ):
        assert sum(bool(re.search(words, error)) for error in errors) == 1
    assert len(errors) == 3
    assert "read 7 images" in out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optim_wrapper.optimizer.lrr": 1}, r"optimizer\.lrr: nothing reads this key"),
        ({"default_hooks.checkpoint.type": "Nope"}, "type='Nope': no component"),
        ({"model.decode_head.num_clases": 3}, "'num_clases', which it does not have"),
        ({"model.mask_generator.block_size": "64"}, "^model: TypeError"),
        ({"train_dataloader.sampler.type": "X"}, "type='X' .*data sampler registry"),
        ({"train_dataloader.batch_size": "4"}, "but got batch_size=4"),
    ],
)
def test_a_wrong_setting_is_one_line_and_the_data_are_read(check, settings, words):
    code, out, (error,) = check(settings=settings)
    assert code == "problems: 1, shown: 1"
    assert re.search(words, error)
    assert "read 7 images and 3 masks\n" in out


def test_a_wrong_label_does_not_hide_a_wrong_setting(check, pets):
    (pets / "image_labels.json").write_text(json.dumps(LABELS | dict(b=["dgo"])))
    _, out, errors = check(settings={"train_dataloader.batchsize": 4})
    label, loader = errors
    assert label.endswith(". The images of train are read once this is right")
    assert "'dgo': did you mean 'dog'?" in label
    assert "DataLoader the argument 'batchsize'" in loader
    assert "read 3 images and 3 masks\n" in out


def test_an_image_of_one_pixel_is_named(check, pets):
    Image.new("RGB", (10, 1)).save(pets / "images/q.jpg")
    Image.new("L", (10, 1)).save(pets / "masks/q.png")
    _, out, (error,) = check()
    assert re.match(r"image .*/q\.jpg: AssertionError: .*dim", error)
    assert "read 6 images and 2 masks\n" in out


def test_a_split_that_the_config_lacks(check):
    lacking = {f"val_{part}": None for part in ("dataloader", "evaluator", "cfg")}
    _, _, (error,) = check("--splits", "val", settings=lacking)
    assert error.endswith("config.py has no data set of val")


def test_voc(tmp_path, capsys):
    root = write_voc(tmp_path / "voc")
    (root / "SegmentationClassAug").symlink_to(root / "SegmentationClass")
    loaders = [f"{kind}_dataloader.dataset.data_root={root}/" for kind in SPLITS]
    config = CONFIGS / "fsr_vit-b_voc.py"
    code, out, errors = check_config(capsys, config, "--cfg-options", *loaders)
    assert "read 3 images and 3 masks\n" in out
    # Three images in all lists, and no other.
    assert len(errors) == 1
    assert "train and also in val and test: 3 (a, b, c)" in errors[0]
    assert code == "problems: 1, shown: 1"


def test_another_kind_of_data_set_is_refused(capsys):
    (config, *_) = sorted((CONFIGS / "second_stage").glob("*.py"))
    code, _, _ = check_config(capsys, config)
    assert re.match(r"error: train_dataloader.*PascalVOCDataset: expected an", code)
