import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_fsr import utils
from mmseg_fsr.engine.hooks import NumClassCheckHook

STAGES = ("train", "val", "test")
CLASSES = ("background", "cat", "dog")


class Items(list):
    """A data set of items."""


def run(stage, num_classes, parts={}, val=None, items=({},), folder="", **metainfo):
    def loop_over(metainfo):
        dataset = Items(items)
        dataset.metainfo = metainfo
        dataset.data_prefix = dict(seg_map_path=str(folder))
        return SimpleNamespace(
            dataloader=SimpleNamespace(dataset=dataset),
            evaluator=SimpleNamespace(metrics=[object()]),
        )

    loops = dict(val_loop=val and loop_over(val))
    loops[f"{stage}_loop"] = loop_over(metainfo)
    model = SimpleNamespace(num_classes=num_classes, **parts)
    runner = SimpleNamespace(model=model, **loops)
    getattr(NumClassCheckHook(), f"before_{stage}")(runner)


@pytest.mark.parametrize("stage", STAGES)
def test_names_both_keys_and_what_to_set(stage):
    run(stage, 3, classes=CLASSES)
    with pytest.raises(ValueError, match="num_classes") as error:
        run(stage, 21, parts=dict(cam_head=object()), classes=CLASSES)
    for part in (
        "model.decode_head.num_classes=21",
        f"{stage}_dataloader has 3 classes, background, cat, dog:",
        "decode_head.num_classes=3 and cam_head.num_classes=2",
    ):
        assert part in str(error.value)


def test_without_image_classifier_there_is_one_key_and_four_classes_are_named():
    message = r"5 classes, a, b, c, d and 1 more: set decode_head\.num_classes=5$"
    with pytest.raises(ValueError, match=message):
        run("train", 4, classes=tuple("abcde"))


def test_training_looks_at_the_validation_data_too():
    with pytest.raises(ValueError, match="val_dataloader has 3 classes"):
        run("train", 2, classes=CLASSES[:2], val=dict(classes=CLASSES))


def test_validation_has_the_training_datas_order():
    other = (CLASSES[0], *CLASSES[:0:-1])
    with pytest.raises(ValueError, match=r"class 1 is 'dog' in .*val_.* in .*train_"):
        run("train", 3, val=dict(classes=other), classes=CLASSES)
    run("train", 3, val=dict(classes=CLASSES), classes=CLASSES)
    run("train", 3, val=dict(classes=CLASSES), classes=None)


@pytest.mark.parametrize(("pixel_range", "count"), [((0, 9), 1), ((0, 4), 0)])
def test_another_range_of_pixels_in_validation_is_warned_of(
    monkeypatch, pixel_range, count
):
    said = []
    monkeypatch.setattr(
        utils.pixel_range, "print_log", lambda text, *_: said.append(text)
    )
    val = dict(classes=CLASSES, pixel_range=pixel_range)
    run("train", 3, val=val, classes=CLASSES, pixel_range=[0, 4])
    assert len(said) == count
    if said:
        assert r"is (0, 9) in the data set of val_dataloader, but (0, 4)" in said[0]


def test_exported_labels_have_the_training_datas_order(tmp_path):
    (tmp_path / "manifest.json").write_text(
        json.dumps(dict(settings={}, classes={name: {} for name in CLASSES}))
    )
    run("train", 3, classes=CLASSES, folder=tmp_path)
    message = r"class 1 is 'dog' in .*train_dataloader, but 'cat' in .*manifest\.json"
    with pytest.raises(ValueError, match=message):
        run("train", 3, classes=(CLASSES[0], *CLASSES[:0:-1]), folder=tmp_path)


@pytest.mark.parametrize("manifest", [[], {}, dict(classes=["a"]), dict(settings={})])
def test_other_manifests_beside_the_masks_say_nothing(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    run("train", 3, classes=CLASSES, folder=tmp_path)


def test_data_set_without_classes_passes():
    run("test", 3, classes=None)
    run("test", 3)


def test_validation_data_show_some_foreground_before_anything_is_trained():
    mask = PixelData(data=torch.tensor([[[0, 255]]]))
    items = [dict(data_samples=SegDataSample(gt_sem_seg=mask))]
    settings = dict(classes=CLASSES, val=dict(classes=CLASSES), items=items)
    for stage in STAGES:
        with pytest.raises(ValueError, match=r"(val|test)_dataloader: no mask shows"):
            run(stage, 3, **settings)
