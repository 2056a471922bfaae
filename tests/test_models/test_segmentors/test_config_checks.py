"""What a config that does not fit together says when it is built."""

import pytest
from mmseg.registry import MODELS

from tests.support.tiny_segmentor import build_tiny, tiny_cfg

NO_DISTILLATION = dict(distill_head=None, mask_generator=None, teacher=None)


def cfg_with(**parts):
    """The tiny segmentor's config with changed settings of some parts."""
    cfg = tiny_cfg()
    for part, settings in parts.items():
        cfg[part].update(settings)
    return cfg


def test_parts_that_fit_build():
    MODELS.build(cfg_with())


@pytest.mark.parametrize(
    ("part", "settings", "message"),
    [
        ("decode_head", dict(in_channels=9), r"decode_head.in_channels=9, expected 8"),
        ("cam_head", dict(in_channels=7), r"cam_head.in_channels=7, expected 8"),
        ("cam_head", dict(aux_in_channels=5), r"aux_in_channels=5, expected 8"),
        ("distill_head", dict(in_channels=4), r"distill_head.in_channels=4, expected"),
    ],
)
def test_channels_that_do_not_fit_are_named_with_the_shapes(part, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        MODELS.build(cfg_with(**{part: settings}))
    assert "levels of shape 8 x 4 x 4, 8 x 4 x 4" in str(error.value)


def test_every_misfit_is_named_at_once():
    cfg = cfg_with(decode_head=dict(in_channels=9), distill_head=dict(in_channels=4))
    with pytest.raises(ValueError, match=r"distill_head.*decode_head|decode.*distill"):
        MODELS.build(cfg)


def test_a_level_that_is_not_there():
    with pytest.raises(ValueError, match=r"in_index=2: expected an index of the 2"):
        MODELS.build(cfg_with(decode_head=dict(in_index=2)))


def test_blocks_that_cells_do_not_tile():
    with pytest.raises(ValueError, match=r"block_size=12: expected a multiple of 8"):
        MODELS.build(cfg_with(mask_generator=dict(block_size=12)))


SEVERAL = dict(
    in_index=[0, 1],
    num_classes=4,
    channels=4,
    loss_decode=dict(type="BalancedCrossEntropyLoss", loss_weight=0.1),
)


@pytest.mark.parametrize(
    "head",
    [
        dict(type="SegformerHead", in_channels=[8, 8]),
        dict(type="UPerHead", in_channels=[8, 8]),
        dict(type="FCNHead", in_channels=[8, 8], input_transform="resize_concat"),
    ],
    ids=["SegformerHead", "UPerHead", "FCNHead"],
)
def test_heads_of_several_levels(head):
    MODELS.build(tiny_cfg(decode_head=SEVERAL | head))
    head["in_channels"] = [8, 6]
    with pytest.raises(ValueError, match=r"decode_head.in_channels=(\[8, 6\]|14), "):
        MODELS.build(tiny_cfg(decode_head=SEVERAL | head))


@pytest.mark.parametrize("part", ["neck", "auxiliary_head"])
def test_refuses_parts_it_would_ignore(part):
    cfg = dict(type="FCNHead", in_channels=8, channels=4, num_classes=4)
    with pytest.raises(ValueError, match="no neck and no auxiliary_head"):
        build_tiny(**{part: cfg})


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (["teacher"], "teacher missing"),
        (["mask_generator"], "mask_generator missing"),
        (["distill_head", "teacher"], "distill_head and teacher missing"),
    ],
)
def test_refuses_half_a_self_distillation(without, message):
    with pytest.raises(ValueError, match=message):
        build_tiny(**dict.fromkeys(without))


def test_refuses_a_second_teacher_of_the_projector():
    head = tiny_cfg().distill_head | dict(type="SelfDistillAuxHead")
    with pytest.raises(ValueError, match=r"is for auxiliary_head.*'SelfDistillHead'"):
        build_tiny(distill_head=head)


def test_refuses_several_losses_of_the_decoder():
    loss = tiny_cfg().decode_head.loss_decode
    head = tiny_cfg().decode_head | dict(loss_decode=[loss, loss])
    with pytest.raises(ValueError, match="is a list of 2: expected one loss"):
        build_tiny(decode_head=head)


def test_refuses_unknown_losses_in_loss_begin():
    with pytest.raises(ValueError, match=r"loss_begin names \['loss_sge'\]"):
        build_tiny(loss_begin=dict(loss_sge=10, loss_seg=10))


def test_refuses_a_binary_decoder():
    # What mmseg advises for two classes.
    head = tiny_cfg().decode_head | dict(num_classes=2, out_channels=1, threshold=0.3)
    cam_head = tiny_cfg().cam_head | dict(num_classes=1)
    with pytest.raises(ValueError, match=r"out_channels=1 for num_classes=2: expected"):
        build_tiny(decode_head=head, cam_head=cam_head)


def test_refuses_numbers_of_classes_that_do_not_fit():
    cam_head = dict(type="CAMHead", num_classes=5, in_channels=8)
    with pytest.raises(ValueError, match=r"num_classes=4 and .*num_classes=5"):
        build_tiny(cam_head=cam_head)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (dict(cam_source="both"), "'both': expected 'student' or 'teacher'"),
        (dict(cam_source="teacher", reuse_features=True), "reuse_features=False"),
        (dict(cam_source="teacher", **NO_DISTILLATION), "needs a teacher"),
    ],
)
def test_refuses_cams_of_nobody(parts, words):
    with pytest.raises(ValueError, match=words):
        build_tiny(**parts)
