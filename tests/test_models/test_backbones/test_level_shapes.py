import pytest
import torch

from mmseg_fsr.models.backbones.fsr_backbone import level_of, map_shapes, stride_of

SHAPES = [(4, 8, 12), (6, 4, 6)]


def test_shapes_without_the_batch():
    maps = [torch.zeros(1, *shape) for shape in SHAPES]
    assert map_shapes(tuple(maps), "Net") == SHAPES
    assert map_shapes(maps, "Net") == SHAPES


@pytest.mark.parametrize(
    ("maps", "says"),
    [
        ((torch.zeros(1, 4, 8, 8),), r"1 output\(s\) of shape \[\(1, 4, 8, 8\)\]"),
        (torch.zeros(1, 4, 8, 8), r"1 output\(s\) of shape \[\(1, 4, 8, 8\)\]"),
        ((torch.zeros(1, 4), torch.zeros(1, 4)), r"\[\(1, 4\), \(1, 4\)\]"),
        (([torch.zeros(1)], torch.zeros(1, 4, 8, 8)), r"'list'"),
    ],
)
def test_other_outputs_are_refused_with_their_shapes(maps, says):
    with pytest.raises(ValueError, match=f"Net gives .*{says}.*two or more maps"):
        map_shapes(maps, "Net")


def test_level_by_index():
    assert level_of(SHAPES, "aux_index", -2) == level_of(SHAPES, "aux_index", 0)
    for index in (2, -3):
        with pytest.raises(ValueError, match=rf"aux_index={index}: .*\(6, 4, 6\)"):
            level_of(SHAPES, "aux_index", index)


def test_stride():
    assert stride_of((4, 8, 12), (32, 48)) == 4


@pytest.mark.parametrize("size", [(33, 48), (32, 96), (30, 48)])
def test_cells_are_squares_of_whole_pixels(size):
    says = rf"{size[0]} x {size[1]} pixels has shape \(C, h, w\) = \(4, 8, 12\)"
    with pytest.raises(ValueError, match=says):
        stride_of((4, 8, 12), size)
