from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from mmseg_fsr.apis.tiles import blended_bands, tile_weights

SIZES = [(100, 64), (65, 64), (64, 64), (10, 64), (500, 33), (1000, 16)]


@pytest.mark.parametrize(("size", "tile"), SIZES)
def test_weights_of_a_pixel_sum_up_to_1(size, tile):
    total = torch.zeros(size)
    for start, weights in tile_weights(size, tile):
        assert len(weights) == min(tile, size)
        assert 0 <= start <= size - len(weights)
        assert weights.min() >= 0
        total[start : start + len(weights)] += weights
    torch.testing.assert_close(total, torch.ones(size))


@pytest.mark.parametrize(("size", "tile"), [(100, 64), (300, 64), (1000, 48)])
def test_neighbours_share_a_quarter_and_their_borders_do_not_count(size, tile):
    stretches = tile_weights(size, tile)
    assert len(stretches) > 1
    assert stretches[0][0] == 0
    assert stretches[-1][0] == size - tile
    for (left, before), (right, after) in pairwise(stretches):
        assert left + tile - right >= tile // 4
        assert not before[-(tile // 16) :].any()
        assert not after[: tile // 16].any()
    # The picture's own borders count in full.
    assert stretches[0][1][0] == stretches[-1][1][-1] == 1


def blended(maps, tile, of_tile):
    height, width = maps.shape[1:]
    found, next_row = [], 0
    for top, band in blended_bands(height, width, tile, of_tile):
        assert top == next_row
        next_row += band.shape[1]
        found.append(band.clone())
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("size", [(50, 70), (16, 100), (100, 10), (33, 33)])
def test_tiles_of_a_picture_give_the_picture(size):
    maps = torch.randn(3, *size)
    calls = []

    def of_tile(rows, columns):
        calls.append((rows, columns))
        return maps[:, rows, columns].clone()

    torch.testing.assert_close(blended(maps, 32, of_tile), maps)
    assert all(
        rows.stop - rows.start == min(32, size[0])
        and columns.stop - columns.start == min(32, size[1])
        for rows, columns in calls
    )


def test_seams_do_not_show_where_a_network_sees_near():
    picture = torch.randn(1, 1, 150, 210)
    kernel = torch.randn(4, 1, 5, 5)

    def network(pixels):
        # Its zero padding spoils two pixels at each border.
        return F.conv2d(pixels, kernel, padding=2)[0]

    whole = network(picture)
    tiled = blended(
        whole, 64, lambda rows, columns: network(picture[..., rows, columns])
    )
    torch.testing.assert_close(tiled, whole)
