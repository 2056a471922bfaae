"""What a config that does not fit together says when it is built."""

import pytest
from mmseg.registry import MODELS

from tests.support.tiny_segmentor import tiny_cfg

NO_DISTILLATION = dict(distill_head=None, mask_generator=None, teacher=None)


def cfg_with(**parts):
    """The tiny segmentor's config with changed settings of some parts."""
    cfg = tiny_cfg()
    for part, settings in parts.items():
        cfg[part].update(settings)
    return cfg


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


TINY = tiny_cfg()
FCN = dict(type="FCNHead", in_channels=8, channels=4, num_classes=4)
OHEM = dict(type="OHEMPixelSampler", thresh=0.7, min_kept=100)
LOSS = TINY.decode_head.loss_decode
# What mmseg advises for two classes.
BINARY = dict(num_classes=2, out_channels=1, threshold=0.3)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (dict(decode_head=TINY.decode_head | dict(in_index=2)),
         r"in_index=2: expected an index of the 2"),
        (dict(mask_generator=TINY.mask_generator | dict(block_size=12)),
         r"block_size=12: expected a multiple of 8"),
        (dict(neck=FCN), "no neck and no auxiliary_head"),
        (dict(auxiliary_head=FCN), "no neck and no auxiliary_head"),
        (dict(teacher=None), "teacher missing"),
        (dict(mask_generator=None), "mask_generator missing"),
        (dict(distill_head=None, teacher=None), "distill_head and teacher missing"),
        (dict(teacher=dict(train_mode=True, momentum=0.9)), r"expected dict\(train"),
        # A second teacher of the projector.
        (dict(distill_head=TINY.distill_head | dict(type="SelfDistillAuxHead")),
         r"is for auxiliary_head.*'SelfDistillHead'"),
        (dict(decode_head=TINY.decode_head | dict(loss_decode=[LOSS, LOSS])),
         "is a list of 2: expected one loss"),
        (dict(decode_head=TINY.decode_head | dict(ignore_index=0)),
         "decode_head has ignore_index=0: .* 255 here"),
        (dict(decode_head=TINY.decode_head | dict(sampler=OHEM)),
         "decode_head.sampler is a OHEMPixelSampler"),
        (dict(pretrained="x.pth"), r"model.pretrained='x.pth' .*init_cfg=dict"),
        (dict(decode_head=TINY.decode_head | dict(num_classes=256),
              cam_head=TINY.cam_head | dict(num_classes=255)),
         r"cam_head.num_classes=255: 255 foreground classes, .* 254 apart"),
        (dict(loss_begin=dict(loss_sge=10, loss_seg=10)),
         r"loss_begin names \['loss_sge'\]"),
        (dict(decode_head=TINY.decode_head | BINARY,
              cam_head=TINY.cam_head | dict(num_classes=1)),
         r"out_channels=1 for num_classes=2: expected"),
        (dict(cam_head=TINY.cam_head | dict(num_classes=5)),
         r"num_classes=4 and .*num_classes=5"),
        (dict(cam_source="both"), "'both': expected 'student' or 'teacher'"),
        (dict(cam_source="teacher", reuse_features=True), "reuse_features=False"),
        (dict(cam_source="teacher", **NO_DISTILLATION), "needs a teacher"),
    ],
)  # fmt: skip
def test_parts_that_do_not_go_together_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(tiny_cfg(**parts))
