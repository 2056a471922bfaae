"""Labels of a trained checkpoint as masks, by the tool."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.apis import init_model
from mmseg.registry import DATASETS, MODELS

from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.datasets.mask_file import read_mask
from mmseg_fsr.utils import (
    atomic_write,
    load_state_dict_file,
    network_state_dict,
    save_state_dict_file,
)
from tests.support.malicious_pickles import Reduced
from tests.support.project_files import TOOLS
from tests.support.runs import own_globals, run_process, run_tool
from tests.test_engine.test_loops.late_crf import LateCRF

pytestmark = pytest.mark.slow

TOOL = TOOLS / "export_pseudo_labels.py"
TRAIN = "train_dataloader.dataset"
NAMES = [f"train_{index:05d}" for index in range(12)]


@pytest.fixture(autouse=True)
def _plain_text(monkeypatch):
    """Formatting the config for the log takes longer than a run."""
    text = property(lambda cfg: "".join(f"{k} = {v!r}\n" for k, v in cfg.items()))
    monkeypatch.setattr(Config, "pretty_text", text)


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
        load, resize, _, pack = cfg.test_pipeline
        pack = dict(pack, type="PackImageLabelSegInputs")
        dataset["pipeline"] = [load, resize, pack]
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


@pytest.mark.parametrize(
    ("source", "options"),
    [("cam", []), ("par", []), ("seg", []), ("seg", ["--teacher"])],
)
def test_writes_each_source(export, predictions, tiny, source, options, capsys):
    folder = export("labels", "--source", source, *options)
    assert sorted(label_maps(folder)) == NAMES
    for name, sample in predictions["--teacher" in options].items():
        label = read_mask(folder / f"{name}.png")
        assert label.shape == (48, 48)
        assert np.array_equal(label, expected_label(sample, source))
    done = manifest(folder)
    assert done["labels"] == done["images"] == 12
    assert done["finished"]
    settings = done["settings"]
    assert settings["source"] == source
    assert settings["teacher"] == ("--teacher" in options)
    thresholds = {k: v for k, v in settings.items() if k.endswith("_thr")}
    generator = Config.fromfile(tiny).model.pseudo_label_generator
    assert (
        thresholds
        == {
            "cam": dict(bkg_thr=0.5),
            "par": dict(low_thr=generator.low_thr, high_thr=generator.high_thr),
            "seg": {},
        }[source]
    )
    assert re.fullmatch("[0-9a-f]{64}", settings["checkpoint_sha256"])
    assert "labels: 12 label maps of 12 images, 0 of them" in capsys.readouterr().out


def test_the_three_sources_differ(predictions):
    samples = predictions[False].values()
    for one, other in (("cam", "par"), ("cam", "seg"), ("par", "seg")):
        assert any(
            not np.array_equal(expected_label(s, one), expected_label(s, other))
            for s in samples
        )


def test_tta_and_another_threshold_change_the_labels(export):
    plain = label_maps(export("seg", "--source", "seg"))
    augmented = export("tta", "--source", "seg", "--tta")
    assert label_maps(augmented).keys() == plain.keys()
    assert label_maps(augmented) != plain
    assert manifest(augmented)["settings"]["tta"] is True
    high = export("high", "--source", "cam", "--bkg-thr", "1")
    assert {read_mask(path).max() for path in high.glob("*.png")} == {0}


def test_scores_against_masks(export, project, capsys):
    masks = project / "scenes" / "SegmentationClass"
    folder = export("train", "--source", "par", "--masks", masks)
    scores = manifest(folder)["scores"]
    assert scores["images"] == 12
    mean = np.mean([value for value in scores["IoU"].values() if value is not None])
    assert scores["mIoU"] == pytest.approx(mean, abs=0.01)
    assert f"mIoU {scores['mIoU']:.2f} on 12 images" in capsys.readouterr().out


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
    export, monkeypatch, crash_at, tmp_path, capsys
):
    whole = label_maps(export("whole", "--source", "par"))
    crash_at(5)
    with pytest.raises(Crash):
        export("broken", "--source", "par")
    monkeypatch.undo()
    folder = tmp_path / "broken"
    half = label_maps(folder)
    assert sorted(half) == NAMES[:4]
    assert all(whole[name] == content for name, content in half.items())
    assert manifest(folder)["finished"] is None
    old = {name: (folder / f"{name}.png").stat().st_mtime_ns for name in half}

    export("broken", "--source", "par")
    assert "12 label maps of 12 images, 4 of them" in capsys.readouterr().out
    assert label_maps(folder) == whole
    for name, time in old.items():
        assert (folder / f"{name}.png").stat().st_mtime_ns == time
    (folder / f"{NAMES[7]}.png").unlink()
    export("broken", "--source", "par")
    assert "12 label maps of 12 images, 11 of them" in capsys.readouterr().out
    assert label_maps(folder) == whole
    assert manifest(folder)["labels"] == 12
    # Nothing is left to do.
    export("broken", "--source", "par")
    assert "12 label maps of 12 images, 12 of them" in capsys.readouterr().out


def test_other_settings_are_refused_unless_overwritten(export, straight, tmp_path):
    folder = export("labels", "--source", "cam")
    before = label_maps(folder), manifest(folder)
    some = tmp_path / "some.txt"
    some.write_text("\n".join(NAMES[:3]))
    resized = "test_dataloader.dataset.pipeline.1.scale=(48,48)"
    with pytest.raises(SystemExit) as caught:
        export(
            "labels", "--source", "cam", "--bkg-thr", "0.4", "--teacher",
            "--split", some, "--cfg-options", resized,
            checkpoint=straight.work_dir / "iter_2.pth",
        )  # fmt: skip
    for words in (
        "bkg_thr: 0.5 there, 0.4 now",
        "teacher: false there, true now",
        "split: train there",
        "checkpoint_sha256: ",
        "config_sha256: ",
        "labels_sha256: ",
    ):
        assert words in str(caught.value)
    assert "source: " not in str(caught.value)
    assert (label_maps(folder), manifest(folder)) == before
    export("labels", "--source", "cam", "--bkg-thr", "0.1", "--overwrite")
    assert label_maps(folder) != before[0]
    assert manifest(folder)["settings"]["bkg_thr"] == 0.1


# --- bad input


def failing(export, capsys, out, *options, **kwargs):
    """What a run that must fail says in one line."""
    with pytest.raises(SystemExit) as caught:
        export(out, *options, **kwargs)
    assert caught.value.code not in (0, None)
    text = str(caught.value.code)
    return text if isinstance(caught.value.code, str) else capsys.readouterr().err


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


def test_a_checkpoint_of_another_network_leaves_nothing(export, tiny, tmp_path, capsys):
    config = tmp_path / "wider.py"
    config.write_text(
        f"_base_ = {str(tiny)!r}\nmodel = dict(decode_head=dict(channels=24))\n"
    )
    said = failing(export, capsys, "labels", "--source", "cam", config=config)
    assert "iter_4.pth: the checkpoint does not fit the model" in said
    assert "decode_head" in said
    assert not (tmp_path / "labels").exists()


def test_a_damaged_checkpoint_is_one_line(export, straight, tmp_path, capsys):
    whole = (straight.work_dir / "iter_4.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(whole[: len(whole) // 2])
    said = failing(
        export, capsys, "labels", "--source", "cam", checkpoint=tmp_path / "x.pth"
    )
    assert "x.pth cannot be read" in said
    assert not (tmp_path / "labels").exists()


def test_a_teacher_that_is_not_there_is_told(export, straight, tmp_path, capsys):
    weights = load_state_dict_file(straight.work_dir / "iter_4.pth")
    save_state_dict_file(tmp_path / "x.pth", network_state_dict(weights, "student"))
    options = ["--source", "cam", "--teacher"]
    checkpoint = tmp_path / "x.pth"
    said = failing(export, capsys, "labels", *options, checkpoint=checkpoint)
    assert "the checkpoint holds no teacher" in said


def test_nothing_in_the_checkpoint_is_run(export, straight, tmp_path):
    weights = load_state_dict_file(straight.work_dir / "iter_4.pth")
    touched = tmp_path / "touched"
    content = dict(state_dict=weights, message_hub=Reduced(str(touched)))
    torch.save(content, tmp_path / "x.pth")
    # A config's own checkpoint is not read either.
    load_from = f"load_from={tmp_path / 'x.pth'}"
    options = ["--source", "seg", "--cfg-options", load_from, "resume=True"]
    folder = export("labels", *options, checkpoint=tmp_path / "x.pth")
    assert sorted(label_maps(folder)) == NAMES
    assert not touched.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--source", "par", "--bkg-thr", "0.5"], "--bkg-thr is for --source cam"),
        (["--source", "cam", "--bkg-thr", "2"], "bkg_thr=2.0: expected a threshold"),
        (["--source", "cam", "--tta"], "--tta is for --source seg"),
        (
            ["--source", "seg", "--tta", "--cfg-options", "tta_model.type=SegTTAModel"],
            "SegTTAModel merges labels and no logits, which the export of labels needs",
        ),
        (["--source", "gt"], "invalid choice: 'gt'"),
        (["--source", "cam", "--split", "tset"], "split file tset does not exist"),
        (
            ["--source", "cam", "--masks", "nowhere"],
            "nowhere has no mask of these images, such as train_00000.png: correct "
            "--masks, or",
        ),
        (
            [
                *["--source", "cam", "--cfg-options"],
                f"{TRAIN}.data_prefix.seg_map_path=JPEGImages",
            ],
            "correct the data set's data_prefix.seg_map_path, or leave it out",
        ),
        (
            ["--source", "cam", "--cfg-options", "test_evaluator.1.field=x"],
            "no CAMIoUMetric in its test_evaluator: give --bkg-thr",
        ),
        (
            [*["--source", "cam", "--cfg-options"], f"{TRAIN}.label_file=x.json"],
            "x.json",
        ),
    ],
)
def test_bad_arguments_are_one_line(export, tmp_path, capsys, options, words):
    assert words in failing(export, capsys, "labels", *options)
    assert not (tmp_path / "labels").exists()


def test_masks_are_never_replaced(export, project, capsys):
    masks = project / "scenes" / "SegmentationClass"
    before = label_maps(masks)
    said = failing(export, capsys, masks, "--source", "cam", "--overwrite")
    assert "they may be masks" in said
    assert label_maps(masks) == before


# --- several processes, chosen classes, CRF


def test_two_processes_write_what_one_does(export, spoiled, straight, tmp_path, capsys):
    config, images = spoiled
    (images / "train_00003.jpg").unlink()
    with pytest.raises(SystemExit, match="problems: 1"):
        export("one", "--source", "par", config=config)
    # What is left is an odd number.
    resumed = shutil.copytree(tmp_path / "one", tmp_path / "two")
    for name in NAMES[4:]:
        (resumed / f"{name}.png").unlink()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", 2]
    said = run_process(
        *torchrun, TOOL, config, straight.work_dir / "iter_4.pth", "--out", resumed,
        "--work-dir", tmp_path / "work2", "--source", "par", "--launcher", "pytorch",
        cwd=tmp_path, returncode=1,
    )  # fmt: skip
    assert "11 label maps of 12 images, 3 of them" in said
    assert said.count(f"error: image {images}/train_00003.jpg does not exist") == 1
    assert label_maps(resumed) == label_maps(tmp_path / "one")
    for key in ("settings", "classes", "undecided", "problems", "labels"):
        assert manifest(resumed)[key] == manifest(tmp_path / "one")[key]


def test_chosen_classes_keep_the_ids_of_the_masks(straight, tiny, tmp_path):
    """As `metainfo=dict(classes=...)` of mmseg's data sets reads masks."""
    from mmseg_fsr.datasets import ImageLabelDataset
    from mmseg_fsr.export.export_loop import PseudoLabelExportLoop

    full = Config.fromfile(tiny).metainfo
    chosen = ("background", "fish", "crate")

    class Scenes(ImageLabelDataset):
        METAINFO = dict(classes=tuple(full.classes), palette=list(full.palette))

    dataset = Scenes(
        data_root=str(tiny.parent / "scenes"),
        data_prefix=dict(img_path="JPEGImages"),
        ann_file="ImageSets/Segmentation/train.txt",
        label_file="image_labels.json",
        metainfo=dict(classes=chosen),
    )
    assert dataset.mask_ids() == [0, 3, 2]
    loop = PseudoLabelExportLoop.__new__(PseudoLabelExportLoop)
    loop.dataset, loop.mask_ids = dataset, dataset.mask_ids()
    loop.folder = type("Folder", (), dict(path=lambda _, name: tmp_path / name))()
    loop._write("x.png", torch.tensor([[0, 1, 2, 255]]))
    assert read_mask(tmp_path / "x.png").tolist() == [[0, 3, 2, 255]]


@pytest.mark.parametrize("source", ["seg", "par"])
def test_crf_refines_and_decides(export, predictions, project, tiny, source):
    folder = export("labels", "--source", source, "--crf")
    crf = MODELS.build(Config.fromfile(tiny).crf)
    changed = 0
    for name, sample in predictions[False].items():
        classes = np.array([0, *(np.flatnonzero(sample.gt_label.label) + 1)])
        plain = expected_label(sample, source)
        if source == "seg":
            probabilities = torch.tensor(sample.seg_logits.data[classes]).softmax(0)
        else:
            rest = 0.3 / (len(classes) - 1)
            own = plain == classes[:, None, None]
            trusted = np.where(own, 0.7, rest)
            trusted[:, plain == 255] = 1 / len(classes)
            probabilities = torch.tensor(trusted, dtype=torch.float32)
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


def test_what_a_late_crf_still_holds_is_written_too(export):
    MODELS.register_module(module=LateCRF, force=True)
    options = ["--source", "cam", "--crf", "--cfg-options"]
    folder = export("labels", *options, "crf.type=LateCRF", "crf.max_pending=3")
    assert sorted(label_maps(folder)) == NAMES
