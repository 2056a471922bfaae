import pytest
import torch

from mmseg_fsr.models.masking.edge_blocks import edge_blocks, sobel_magnitude


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


def test_magnitude_of_a_ramp():
    ramp = torch.arange(6.0).expand(1, 3, 4, 6)
    expected = torch.tensor([4.0, 8, 8, 8, 8, 4]).expand(1, 4, 6)
    torch.testing.assert_close(sobel_magnitude(ramp), expected)


def test_blocks_match_slow_version():
    images = torch.rand(3, 3, 8, 12)
    found = edge_blocks(images, (2, 3))
    for image, blocks in zip(images, found, strict=True):
        magnitude = slow_magnitude(image.mean(0))
        for row in range(2):
            for col in range(3):
                block = magnitude[4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
                assert blocks[row, col] == (block.mean() > magnitude.mean())
    assert found.any()
    assert not found.all()


def test_units_do_not_matter():
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(edge_blocks(images, (4, 4)), edge_blocks(3 * images - 1, (4, 4)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_plain_image_has_no_edges(dtype):
    images = torch.full((1, 3, 8, 8), 0.3, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        assert not edge_blocks(images, (4, 4)).any()
