import pytest
import torch

from mmseg_fsr.models.masking.blocks import (
    choose_blocks,
    choose_uncertain_first,
    choose_uncertain_only,
    num_masked_blocks,
    sobel_magnitude,
    spread_blocks,
    uncertain_blocks_by_cams,
    uncertain_blocks_by_edges,
)


@pytest.mark.parametrize(
    ("num_blocks", "ratio", "expected"),
    [
        (49, 0.4, 20),
        (100, 0.55, 55),  # 0.55 * 100 > 55 in floats
        (25, 0.4, 10),
        (49, 0, 0),
        (49, 1, 49),
        (4, 0.01, 1),
    ],
)
def test_num_masked_blocks(num_blocks, ratio, expected):
    assert num_masked_blocks(num_blocks, ratio) == expected


def test_uncertain_blocks_match_slow_version():
    batch, num_classes, block = 3, 4, 5
    # Twentieths include both thresholds themselves, which are certain.
    cams = torch.randint(0, 21, (batch, num_classes, 15, 20)) / 20
    labels = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]])
    low, high = float(torch.tensor(4) / 20), float(torch.tensor(14) / 20)
    expected = torch.zeros(batch, 3, 4, dtype=torch.bool)
    for b in range(batch):
        for y in range(3):
            for x in range(4):
                own = cams[b, labels[b] > 0, y * block, x * block]
                expected[b, y, x] = len(own) > 0 and low < own.max() < high
    assert torch.equal(
        uncertain_blocks_by_cams(cams, labels, (3, 4), low, high), expected
    )
    assert expected.any()


def slow_choice(noise, uncertain, count, strict):
    """Sort the blocks of each image by hand."""
    mask = torch.zeros_like(uncertain)
    width = noise.shape[2]
    for b in range(len(noise)):
        blocks = [(y, x) for y in range(noise.shape[1]) for x in range(width)]
        blocks.sort(key=lambda p: (-int(uncertain[b][p]), -float(noise[b][p])))
        for p in blocks[:count]:
            mask[b][p] = bool(uncertain[b][p]) or not strict
    return mask


@pytest.mark.parametrize("count", [0, 3, 8, 12])
@pytest.mark.parametrize("strict", [False, True])
def test_choice_matches_slow_version(count, strict):
    noise = torch.rand(5, 3, 4)
    uncertain = torch.rand(5, 3, 4) < 0.4
    uncertain[0], uncertain[1] = False, True
    choose = choose_uncertain_only if strict else choose_uncertain_first
    expected = slow_choice(noise, uncertain, count, strict)
    assert torch.equal(choose(noise, uncertain, count), expected)


def test_random_choice_is_relaxed_choice_without_uncertain_blocks():
    noise = torch.rand(4, 3, 3)
    expected = slow_choice(noise, torch.zeros(4, 3, 3, dtype=torch.bool), 4, False)
    assert torch.equal(choose_blocks(noise, 4), expected)


def test_spread_blocks():
    mask = torch.tensor([[[True, False]]])
    spread = spread_blocks(mask, (2, 6))
    assert spread.tolist() == [[[True] * 3 + [False] * 3] * 2]


# ------------------------------------------------------------------- edges


def slow_magnitude(image):
    """Sobel's two sums of one grey image, pixel by pixel."""
    height, width = image.shape

    def at(y, x):
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        return image[y, x].item()

    magnitude = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            down = across = 0.0
            for step, weight in ((-1, 1), (0, 2), (1, 1)):
                down += weight * (at(y + 1, x + step) - at(y - 1, x + step))
                across += weight * (at(y + step, x + 1) - at(y + step, x - 1))
            magnitude[y, x] = (down**2 + across**2) ** 0.5
    return magnitude


def test_magnitude_matches_slow_version():
    images = torch.randn(2, 3, 5, 7)
    expected = torch.stack([slow_magnitude(image.mean(0)) for image in images])
    torch.testing.assert_close(sobel_magnitude(images), expected)


def test_blocks_match_slow_version():
    images = torch.rand(3, 3, 8, 12)
    found = uncertain_blocks_by_edges(images, (2, 3))
    for image, blocks in zip(images, found, strict=True):
        magnitude = slow_magnitude(image.mean(0))
        for row in range(2):
            for col in range(3):
                block = magnitude[4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
                assert blocks[row, col] == (block.mean() > magnitude.mean())
    assert found.any()
    assert not found.all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_plain_image_has_no_edges(dtype):
    images = torch.full((1, 3, 8, 8), 0.3, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        assert not uncertain_blocks_by_edges(images, (4, 4)).any()
