"""What a config that does not fit together says when it is built."""

import pytest
from mmseg.registry import MODELS

from tests.test_models.test_segmentors.tiny_segmentor import tiny_cfg


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
