from types import SimpleNamespace

import pytest

from mmseg_fsr.engine.hooks import NumClassCheckHook

STAGES = ("train", "val", "test")
CLASSES = ("background", "cat", "dog")


def run(stage, num_classes, parts={}, val_classes=None, **metainfo):
    def loop_over(metainfo):
        dataset = SimpleNamespace(metainfo=metainfo)
        return SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))

    loops = dict(val_loop=val_classes and loop_over(dict(classes=val_classes)))
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
    message = r"5 classes, a, b, c, d, \.\.\.: set decode_head\.num_classes=5$"
    with pytest.raises(ValueError, match=message):
        run("train", 4, classes=tuple("abcde"))


def test_training_looks_at_the_validation_data_too():
    with pytest.raises(ValueError, match="val_dataloader has 3 classes"):
        run("train", 2, classes=CLASSES[:2], val_classes=CLASSES)


def test_validation_has_the_training_datas_order():
    other = (CLASSES[0], *CLASSES[:0:-1])
    with pytest.raises(ValueError, match=r"class 1 is 'dog' in .*val_.* in .*train_"):
        run("train", 3, val_classes=other, classes=CLASSES)
    run("train", 3, val_classes=CLASSES, classes=CLASSES)
    run("train", 3, val_classes=CLASSES, classes=None)


def test_data_set_without_classes_passes():
    run("test", 3, classes=None)
    run("test", 3)
