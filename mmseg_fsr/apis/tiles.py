"""Overlapping tiles of a picture: where they lie, how their maps become one."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# Of a tile's side: what neighbours share at least, and what of that does not count, as
# a network knows least of what lies at its input's border.
_OVERLAP, _MARGIN = 1 / 4, 1 / 16


def tile_weights(size: int, tile: int) -> list[tuple[int, Tensor]]:
    """Cuts a side of a picture into overlapping stretches of equal length.

    Args:
        size: Pixels of the side.
        tile: Pixels of a stretch, at most; one stretch if the side has no more.

    Returns:
        For each stretch, in order, its first pixel and the weights (min(tile, size),)
        of its pixels, float32 in 0..1. The weights of a pixel sum up to 1. Where
        stretches meet, they fall evenly to 0, which they reach a sixteenth of a tile
        before the end.
    """
    if size <= tile:
        return [(0, torch.ones(size))]
    overlap, margin = tile * _OVERLAP, tile * _MARGIN
    count = math.ceil((size - overlap) / (tile - overlap))
    starts = [round(i * (size - tile) / (count - 1)) for i in range(count)]
    ramp = (torch.arange(tile) + 0.5 - margin) / (overlap - 2 * margin)
    rising = ramp.clamp(0, 1)
    total = torch.zeros(size)
    weights = []
    for start in starts:
        weight = torch.ones(tile)
        if start > 0:
            weight *= rising
        if start + tile < size:
            weight *= rising.flip(0)
        total[start : start + tile] += weight
        weights.append(weight)
    return [
        (start, weight / total[start : start + tile])
        for start, weight in zip(starts, weights, strict=True)
    ]


def blended_bands(
    height: int,
    width: int,
    tile: int,
    predict: Callable[[slice, slice], Tensor],
) -> Iterator[tuple[int, Tensor]]:
    """Blends the maps of a picture's tiles, and holds no more than a row of tiles.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        tile: Side of a tile in pixels, at least 16.
        predict: Gives the maps (C, h, w) of a tile, for its rows and columns; they are
            changed.

    Yields:
        From top to bottom the first row of each band, and its maps (C, rows, width).
        They are the mean of the tiles', by :func:`tile_weights`, and valid until the
        next band is asked for.
    """
    rows, columns = tile_weights(height, tile), tile_weights(width, tile)
    ends = [*(top for top, _ in rows[1:]), height]
    buffer = None
    for (top, row_weight), end in zip(rows, ends, strict=True):
        lines = slice(top, top + len(row_weight))
        for left, column_weight in columns:
            right = left + len(column_weight)
            maps = predict(lines, slice(left, right))
            maps *= (row_weight[:, None] * column_weight).to(maps)
            if buffer is None:
                buffer = maps.new_zeros(len(maps), len(row_weight), width)
            buffer[:, :, left:right] += maps
        yield top, buffer[:, : end - top]
        begun = buffer[:, end - top :].clone()
        buffer.zero_()
        buffer[:, : begun.shape[1]] = begun
