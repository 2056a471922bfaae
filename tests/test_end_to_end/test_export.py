"""Labels of a trained checkpoint as masks, by the tool."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.apis import init_model
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmseg_fsr.checkpoints import (
    load_state_dict_file,
    network_state_dict,
    save_state_dict_file,
)
from mmseg_fsr.datasets import ImageLabelDataset
from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.datasets.mask_file import read_mask
from mmseg_fsr.export.export_loop import PseudoLabelExportLoop
from mmseg_fsr.export.label_maps import label_probabilities
from mmseg_fsr.utils import atomic_write
from tests.support.malicious_pickles import Reduced
from tests.support.project_files import TOOLS
from tests.support.ranks import run_tool_in_ranks
from tests.support.runs import own_globals, run_tool

pytestmark = pytest.mark.slow

TOOL = TOOLS / "export_pseudo_labels.py"
TRAIN = "train_dataloader.dataset"
NAMES = [f"train_{index:05d}" for index in range(12)]


@pytest.fixture
def export(straight, tiny, tmp_path):
    """Runs the tool on the trained tiny network, into a folder of that name."""

    def run(out, *options, config=tiny, checkpoint=None):
        checkpoint = checkpoint or straight.work_dir / "iter_4.pth"
        common = ["--out", tmp_path / out, "--work-dir", tmp_path / "work"]
        run_tool(TOOL, config, checkpoint, *common, *options)
        return tmp_path / out

    return run


def label_maps(folder):
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path.read_bytes()
        for path in folder.rglob("*.png")
    }


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


@pytest.fixture(scope="module")
def predictions(straight, tiny):
    """CAMs, pseudo label, logits and labels of the training images, one by one."""
    with own_globals():
        cfg = Config.fromfile(tiny)
        model = init_model(cfg, str(straight.work_dir / "iter_4.pth"), "cpu")
        dataset = dict(cfg.train_dataloader.dataset, test_mode=True)
        load, scale, resize, _, pack = cfg.test_pipeline
        pack = dict(pack, type="PackImageLabelSegInputs")
        dataset["pipeline"] = [load, scale, resize, pack]
        items = DATASETS.build(dataset)
        found = {}
        for network in (model, model.teacher):
            with torch.no_grad():
                samples = [
                    network.eval().test_step(pseudo_collate([item]))[0]
                    for item in items
                ]
            found[network is model.teacher] = {
                Path(sample.img_path).stem: sample.numpy() for sample in samples
            }
    return found


def expected_label(sample, source):
    classes = [0, *(np.flatnonzero(sample.gt_label.label) + 1)]
    if source == "par":
        return sample.pseudo_sem_seg.data[0]
    if source == "seg":
        return np.array(classes)[sample.seg_logits.data[classes].argmax(0)]
    cams = sample.cams.data
    return np.where(cams.max(0) > 0.5, cams.argmax(0) + 1, 0)


def assert_expected(folder, predictions, source):
    """The folder holds the label maps of all images, and they are right."""
    assert sorted(label_maps(folder)) == NAMES
    for name, sample in predictions.items():
        label = read_mask(folder / f"{name}.png")
        assert np.array_equal(label, expected_label(sample, source)), name


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("cam", []),
        ("par", []),
        ("seg", []),
        ("seg", ["--teacher"]),
        # The labels are known: the classifier has no say.
        ("seg", ["--cfg-options", "model.test_cfg.image_level_prior=True"]),
    ],
)
def test_writes_and_scores_each_source(
    export, predictions, tiny, project, source, options, capsys
):
    masks = project / "scenes" / "SegmentationClass"
    folder = export("labels", "--source", source, "--masks", masks, *options)
    assert_expected(folder, predictions["--teacher" in options], source)
    done = manifest(folder)
    assert done["labels"] == done["images"] == 12
    assert done["finished"]
    settings = done["settings"]
    assert settings["source"] == source
    assert settings["teacher"] == ("--teacher" in options)
    assert re.fullmatch("[0-9a-f]{64}", settings["checkpoint_sha256"])
    thresholds = {k: v for k, v in settings.items() if k.endswith("_thr")}
    generator = Config.fromfile(tiny).model.pseudo_label_generator
    expected = {
        "cam": dict(bkg_thr=0.5),
        "par": dict(low_thr=generator.low_thr, high_thr=generator.high_thr),
        "seg": {},
    }
    assert thresholds == expected[source]
    scores = done["scores"]
    mean = np.mean([value for value in scores["IoU"].values() if value is not None])
    assert scores["mIoU"] == pytest.approx(mean, abs=0.01)
    printed = capsys.readouterr().out
    assert f"mIoU {scores['mIoU']:.2f} on 12 images" in printed
    assert "labels: 12 label maps of 12 images, 0 of them" in printed


def test_the_three_sources_differ(predictions):
    samples = predictions[False].values()
    for one, other in (("cam", "par"), ("cam", "seg"), ("par", "seg")):
        assert any(
            not np.array_equal(expected_label(s, one), expected_label(s, other))
            for s in samples
        )


def test_tta_and_another_threshold_change_the_labels(export, predictions):
    augmented = export("tta", "--source", "seg", "--tta")
    assert sorted(label_maps(augmented)) == NAMES
    assert any(
        not np.array_equal(
            read_mask(augmented / f"{name}.png"), expected_label(sample, "seg")
        )
        for name, sample in predictions[False].items()
    )
    assert manifest(augmented)["settings"]["tta"] is True
    high = export("high", "--source", "cam", "--bkg-thr", "1")
    assert {read_mask(path).max() for path in high.glob("*.png")} == {0}


def test_the_split_of_validation_scores_as_validation_does(export, straight):
    folder = export("val", "--source", "par", "--split", "val")
    assert sorted(label_maps(folder)) == [f"val_{index:05d}" for index in range(4)]
    logged = straight.record["metrics"]["pseudo_label/mIoU"]
    assert manifest(folder)["scores"]["mIoU"] == pytest.approx(logged, abs=0.006)


# --- broken off, and once more


class Crash(BaseException):
    """The process ends, wherever it is."""


@pytest.fixture
def crash_at(monkeypatch):
    """Lets the run end between writing a file aside and naming it."""

    def arm(count):
        replace = atomic_write.os.replace
        left = [count]

        def crashing(draft, path):
            left[0] -= str(path).endswith(".png")
            if left[0] == 0:
                raise Crash
            replace(draft, path)

        monkeypatch.setattr(atomic_write.os, "replace", crashing)

    return arm


def test_goes_on_after_a_crash_and_after_lost_files(
    export, predictions, monkeypatch, crash_at, tmp_path, capsys
):
    crash_at(5)
    with pytest.raises(Crash):
        export("broken", "--source", "par")
    monkeypatch.undo()
    folder = tmp_path / "broken"
    assert sorted(label_maps(folder)) == NAMES[:4]
    assert manifest(folder)["finished"] is None
    (folder / f"{NAMES[2]}.png").unlink()
    old = {path: path.stat().st_mtime_ns for path in folder.glob("*.png")}

    export("broken", "--source", "par")
    assert "12 label maps of 12 images, 3 of them" in capsys.readouterr().out
    assert_expected(folder, predictions[False], "par")
    assert manifest(folder)["labels"] == 12
    assert all(path.stat().st_mtime_ns == time for path, time in old.items())
    # Nothing is left to do.
    export("broken", "--source", "par")
    assert "12 label maps of 12 images, 12 of them" in capsys.readouterr().out


def test_other_settings_are_refused_unless_overwritten(export, straight, tmp_path):
    folder = export("labels", "--source", "cam")
    before = label_maps(folder), manifest(folder)
    some = tmp_path / "some.txt"
    some.write_text("\n".join(NAMES[:3]))
    resized = "test_dataloader.dataset.pipeline.2.scale=(48,48)"
    with pytest.raises(SystemExit) as caught:
        export(
            "labels", "--source", "cam", "--bkg-thr", "0.4", "--teacher",
            "--split", some, "--cfg-options", resized,
            checkpoint=straight.work_dir / "iter_2.pth",
        )  # fmt: skip
    changed = re.findall(r"(\w+): \S+ there, \S+ now", str(caught.value))
    assert set(changed) == {
        "bkg_thr", "teacher", "split",
        "checkpoint_sha256", "config_sha256", "labels_sha256",
    }  # fmt: skip
    assert (label_maps(folder), manifest(folder)) == before
    export("labels", "--source", "cam", "--bkg-thr", "0.1", "--overwrite")
    assert label_maps(folder) != before[0]
    assert manifest(folder)["settings"]["bkg_thr"] == 0.1


# --- bad input


@pytest.fixture
def failing(export, tmp_path, capsys):
    """What a run that must fail says in one line; it leaves no folder."""

    def run(*options, out="labels", **kwargs):
        with pytest.raises(SystemExit) as caught:
            export(out, *options, **kwargs)
        assert caught.value.code not in (0, None)
        assert not (tmp_path / "labels").exists()
        text = str(caught.value.code)
        return text if isinstance(caught.value.code, str) else capsys.readouterr().err

    return run


@pytest.fixture
def spoiled(tiny, project, tmp_path):
    """A config on a copy of the images to spoil."""
    scenes = shutil.copytree(project / "scenes", tmp_path / "scenes")
    config = tmp_path / "spoiled.py"
    data = dict(dataset=dict(data_root=str(scenes)))
    config.write_text(f"_base_ = {str(tiny)!r}\ntrain_dataloader = {data}\n")
    return config, scenes / "JPEGImages"


def test_images_that_cannot_be_read_are_named_and_the_rest_is_done(
    export, spoiled, capsys
):
    config, images = spoiled
    content = (images / "train_00003.jpg").read_bytes()
    (images / "train_00003.jpg").write_bytes(content[:500])
    (images / "train_00008.jpg").unlink()
    with pytest.raises(SystemExit) as caught:
        export("labels", "--source", "seg", config=config)
    assert caught.value.code == "problems: 2, shown: 2"
    printed = capsys.readouterr()
    assert f"image {images}/train_00003.jpg cannot be decoded" in printed.err
    assert f"image {images}/train_00008.jpg does not exist" in printed.err
    folder = images.parents[1] / "labels"
    assert sorted(label_maps(folder)) == NAMES[:3] + NAMES[4:8] + NAMES[9:]
    assert manifest(folder)["labels"] == 10
    assert len(manifest(folder)["problems"]) == 2
    # Repaired, only these two are done.
    for name in ("train_00003", "train_00008"):
        (images / f"{name}.jpg").write_bytes(content)
    export("labels", "--source", "seg", config=config)
    assert "12 label maps of 12 images, 10 of them" in capsys.readouterr().out
    assert manifest(folder)["problems"] == []


def test_an_image_smaller_than_a_patch_is_named_and_the_rest_is_done(
    export, spoiled, capsys
):
    config, images = spoiled
    Image.new("RGB", (30, 6)).save(images / "train_00003.jpg")
    with pytest.raises(SystemExit, match="problems: 1"):
        export("labels", "--source", "seg", "--tta", config=config)
    (line,) = manifest(images.parents[1] / "labels")["problems"]
    assert line.startswith(f"{images}/train_00003.jpg: image of 6 x 30 pixels")
    assert line in capsys.readouterr().err
    assert sorted(label_maps(images.parents[1] / "labels")) == NAMES[:3] + NAMES[4:]


def test_a_checkpoint_of_another_network(failing, tiny, tmp_path):
    config = tmp_path / "wider.py"
    config.write_text(
        f"_base_ = {str(tiny)!r}\nmodel = dict(decode_head=dict(channels=24))\n"
    )
    said = failing("--source", "cam", config=config)
    assert "iter_4.pth: the checkpoint does not fit the model" in said
    assert "decode_head" in said


def test_a_damaged_checkpoint(failing, straight, tmp_path):
    whole = (straight.work_dir / "iter_4.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(whole[: len(whole) // 2])
    said = failing("--source", "cam", checkpoint=tmp_path / "x.pth")
    assert "x.pth cannot be read" in said


def test_a_teacher_that_is_not_there(failing, straight, tmp_path):
    weights = load_state_dict_file(straight.work_dir / "iter_4.pth")
    save_state_dict_file(tmp_path / "x.pth", network_state_dict(weights, "student"))
    said = failing("--source", "cam", "--teacher", checkpoint=tmp_path / "x.pth")
    assert "the checkpoint holds no teacher" in said


def test_nothing_in_a_checkpoint_is_run(export, failing, straight, tmp_path):
    touched, checkpoint = tmp_path / "touched", tmp_path / "x.pth"
    weights = load_state_dict_file(straight.work_dir / "iter_4.pth")
    content = dict(state_dict=weights, message_hub=Reduced(str(touched)))
    torch.save(content, checkpoint)
    said = failing("--source", "seg", checkpoint=checkpoint)
    assert "x.pth cannot be read as plain weights: it holds posix.mkdir" in said
    # A config's own checkpoint is not read.
    options = ["--cfg-options", f"load_from={checkpoint}", "resume=True"]
    folder = export("labels", "--source", "seg", *options)
    assert sorted(label_maps(folder)) == NAMES
    assert not touched.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("par --bkg-thr 0.5", "--bkg-thr is for --source cam"),
        ("cam --bkg-thr 2", "bkg_thr=2.0: expected a threshold"),
        ("cam --tta", "--tta is for --source seg"),
        (
            "seg --tta --cfg-options tta_model.type=SegTTAModel",
            "SegTTAModel merges labels and no logits, which are needed here",
        ),
        ("gt", "invalid choice: 'gt'"),
        ("cam --split tset", "split file tset does not exist"),
        (
            "cam --masks nowhere",
            "nowhere has no mask of these images, such as train_00000.png: correct "
            "--masks, or",
        ),
        (
            f"cam --cfg-options {TRAIN}.data_prefix.seg_map_path=JPEGImages",
            "correct the data set's data_prefix.seg_map_path, or leave it out",
        ),
        (
            "cam --cfg-options test_evaluator.1.field=x",
            "no CAMIoUMetric in its test_evaluator: give --bkg-thr",
        ),
        (f"cam --cfg-options {TRAIN}.label_file=x.json", "x.json"),
    ],
)
def test_bad_arguments(failing, options, words):
    assert words in failing("--source", *options.split())


def test_masks_are_never_replaced(failing, project):
    masks = project / "scenes" / "SegmentationClass"
    before = label_maps(masks)
    said = failing("--source", "cam", "--overwrite", out=masks)
    assert "is the folder of val_dataloader.dataset.data_prefix.seg_map_path" in said
    assert label_maps(masks) == before


def test_masks_of_other_images_are_not_written_among(failing, project, tmp_path):
    # Those of the validation, to which the labels of training images would be added.
    source = project / "scenes" / "SegmentationClass"
    masks = shutil.copytree(source, tmp_path / "masks")
    for path in masks.glob("train_*"):
        path.unlink()
    before = label_maps(masks)
    said = failing("--source", "cam", out=masks)
    assert "holds files but no manifest.json, such as val_00000.png" in said
    assert "is the folder of --masks" in failing(
        "--source", "cam", "--masks", masks, out=masks
    )
    assert label_maps(masks) == before


# --- several processes, chosen classes, CRF


def test_two_processes_write_what_one_does(export, spoiled, straight, tmp_path):
    config, images = spoiled
    (images / "train_00003.jpg").unlink()
    with pytest.raises(SystemExit, match="problems: 1"):
        export("one", "--source", "par", config=config)
    # What is left is an odd number.
    resumed = shutil.copytree(tmp_path / "one", tmp_path / "two")
    for name in NAMES[4:]:
        (resumed / f"{name}.png").unlink()
    said = run_tool_in_ranks(
        TOOL, config, straight.work_dir / "iter_4.pth", "--out", resumed,
        "--work-dir", tmp_path / "work2", "--source", "par", returncode=1,
    )  # fmt: skip
    assert "11 label maps of 12 images, 3 of them" in said
    assert said.count(f"error: image {images}/train_00003.jpg does not exist") == 1
    assert label_maps(resumed) == label_maps(tmp_path / "one")
    for key in ("settings", "classes", "undecided", "problems", "labels"):
        assert manifest(resumed)[key] == manifest(tmp_path / "one")[key]


def test_chosen_classes_keep_the_ids_of_the_masks(tiny, tmp_path):
    """As `metainfo=dict(classes=...)` of mmseg's data sets reads masks."""
    full = Config.fromfile(tiny).metainfo

    class Scenes(ImageLabelDataset):
        METAINFO = dict(classes=tuple(full.classes), palette=list(full.palette))

    dataset = Scenes(
        data_root=str(tiny.parent / "scenes"),
        data_prefix=dict(img_path="JPEGImages"),
        ann_file="ImageSets/Segmentation/train.txt",
        label_file="image_labels.json",
        metainfo=dict(classes=("background", "fish", "crate")),
    )
    assert dataset.mask_ids() == [0, 3, 2]
    loop = PseudoLabelExportLoop.__new__(PseudoLabelExportLoop)
    loop.dataset, loop.mask_ids = dataset, dataset.mask_ids()
    loop.folder = SimpleNamespace(path=lambda name: tmp_path / name)
    loop._write("x.png", torch.tensor([[0, 1, 2, 255]]))
    assert read_mask(tmp_path / "x.png").tolist() == [[0, 3, 2, 255]]


@pytest.mark.parametrize("source", ["seg", "par"])
def test_crf_refines_and_decides(export, predictions, project, tiny, source):
    iters = ["--cfg-options", "crf.num_iters=2"]
    folder = export("labels", "--source", source, "--crf", *iters)
    crf = MODELS.build(dict(Config.fromfile(tiny).crf, num_iters=2))
    changed = 0
    for name, sample in predictions[False].items():
        classes = np.array([0, *(np.flatnonzero(sample.gt_label.label) + 1)])
        plain = expected_label(sample, source)
        if source == "seg":
            probabilities = torch.tensor(sample.seg_logits.data[classes]).softmax(0)
        else:
            probabilities = label_probabilities(*map(torch.tensor, (plain, classes)))
        image = read_image(str(project / "scenes" / "JPEGImages" / f"{name}.jpg"))
        image = torch.from_numpy(image.transpose(2, 0, 1).copy())
        winner = crf(image[None], probabilities[None])[0].argmax(0)
        label = read_mask(folder / f"{name}.png")
        # Softmax of the logarithm is not the same to the last bit.
        assert (label == classes[winner]).mean() > 0.999
        changed += (label != plain).any()
    assert changed
    assert manifest(folder)["undecided"] == 0
    assert manifest(folder)["settings"]["crf"]["type"] == "DenseCRF"
