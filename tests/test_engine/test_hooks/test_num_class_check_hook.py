from types import SimpleNamespace

import pytest

from mmseg_fsr.engine.hooks import NumClassCheckHook

STAGES = ("train", "val", "test")


def loop_over(metainfo):
    dataset = SimpleNamespace(metainfo=metainfo)
    return SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))


def run(stage, num_classes, parts={}, **metainfo):
    loops = dict(val_loop=None) | {f"{stage}_loop": loop_over(metainfo)}
    model = SimpleNamespace(num_classes=num_classes, **parts)
    runner = SimpleNamespace(model=model, **loops)
    getattr(NumClassCheckHook(), f"before_{stage}")(runner)


@pytest.mark.parametrize("stage", STAGES)
def test_names_both_keys_and_what_to_set(stage):
    classes = ("background", "cat", "dog")
    with pytest.raises(ValueError, match="num_classes") as error:
        run(stage, 21, parts=dict(cam_head=object()), classes=classes)
    message = str(error.value)
    for part in (
        "model.decode_head.num_classes=21",
        f"{stage}_dataloader has 3 classes, background, cat, dog:",
        "decode_head.num_classes=3 and cam_head.num_classes=2",
    ):
        assert part in message


def test_a_model_without_image_classifier_has_one_key():
    with pytest.raises(ValueError, match=r"set decode_head\.num_classes=2$"):
        run("train", 4, classes=("background", "cat"))


def test_training_looks_at_the_validation_data_too():
    runner = SimpleNamespace(
        model=SimpleNamespace(num_classes=2),
        train_loop=loop_over(dict(classes=("background", "cat"))),
        val_loop=loop_over(dict(classes=("background", "cat", "dog"))),
    )
    with pytest.raises(ValueError, match="val_dataloader has 3 classes"):
        NumClassCheckHook().before_train(runner)


def test_names_four_classes_at_most():
    with pytest.raises(ValueError, match=r"5 classes, a, b, c, d, \.\.\.: set"):
        run("train", 4, classes=tuple("abcde"))


@pytest.mark.parametrize("stage", STAGES)
def test_same_number_passes(stage):
    run(stage, 3, classes=("background", "cat", "dog"))


def test_data_set_without_classes_passes():
    run("test", 3, classes=None)
    run("test", 3)
