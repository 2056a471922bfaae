import pytest
import torch
from mmseg.registry import MODELS

from mmseg_fsr.models.masking import UncertaintyMaskGenerator
from mmseg_fsr.models.masking.uncertainty_mask_generator import MASK_STRATEGIES
from mmseg_fsr.utils.training_progress import TrainingProgress

SIZE, GRID = (96, 128), (6, 8)


@pytest.fixture
def cams():
    """Left half certain, right half uncertain."""
    cams = torch.full((2, 3, *SIZE), 0.05)
    cams[..., 64:] = 0.45
    return cams


LABELS = torch.tensor([[1.0, 0, 1], [0, 1, 0]])


def blocks_of(mask):
    """One value a block of 2 x 2 patches, and that all four agree."""
    blocks = mask[:, ::2, ::2]
    again = blocks.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(again, mask)
    return blocks


def build(**kwargs):
    return MODELS.build(dict(type="UncertaintyMaskGenerator", block_size=32, **kwargs))


@pytest.fixture
def images():
    """Left half plain, right half checkered."""
    images = torch.full((2, 3, *SIZE), 0.5)
    checks = torch.rand(SIZE[0], 64).round()
    images[..., 64:] += checks
    return images


BEGIN, END = TrainingProgress(1, 100), TrainingProgress(100, 100)


def choose(generator, cams, images, labels=LABELS, noise=None):
    """The mask at a step at which blocks are no longer random."""
    return generator(images, GRID, END, cams, labels, noise)


@pytest.mark.parametrize("cue", ["cam", "edge"])
@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.4, 0.5, 0.75, 1.0])
def test_relaxed_masks_uncertain_blocks_before_others(cams, images, ratio, cue):
    generator = build(mask_ratio=ratio, strategy=f"{cue}_relaxed")
    mask = choose(generator, cams, images)
    assert mask.dtype == torch.bool
    assert mask.shape == (2, *GRID)
    blocks = blocks_of(mask)  # 3 x 4 blocks, 6 of them uncertain
    count = {0.0: 0, 0.25: 3, 0.4: 5, 0.5: 6, 0.75: 9, 1.0: 12}[ratio]
    uncertain = blocks[..., 2:].flatten(1).sum(1)
    assert uncertain.tolist() == [min(count, 6)] * 2
    assert blocks.flatten(1).sum(1).tolist() == [count] * 2
    assert generator.max_masked(SIZE, GRID) == 4 * count


@pytest.mark.parametrize("cue", ["cam", "edge"])
@pytest.mark.parametrize(("ratio", "expected"), [(0.25, 3), (1.0, 6)])
def test_strict_masks_uncertain_blocks_only(cams, images, ratio, expected, cue):
    generator = build(mask_ratio=ratio, strategy=f"{cue}_strict")
    mask = choose(generator, cams, images)
    blocks = blocks_of(mask)
    assert not blocks[..., :2].any()
    assert blocks.flatten(1).sum(1).tolist() == [expected] * 2


def test_random_blocks(cams, images):
    generator = build(strategy="random")
    noise = generator.noise(images)
    mask = choose(generator, cams, images, noise=noise)
    assert torch.equal(mask, generator(images, GRID, BEGIN, noise=noise))
    assert mask.sum() == 2 * generator.max_masked(SIZE, GRID)
    assert not torch.equal(mask, choose(generator, cams, images))


def test_in_the_random_phase_every_strategy_is_random(images):
    noise = torch.rand(2, 3, 4)
    masks = [
        build(strategy=name)(images, GRID, BEGIN, noise=noise)
        for name in MASK_STRATEGIES
    ]
    assert all(torch.equal(mask, masks[0]) for mask in masks)
    assert masks[0].any()


def test_images_without_label_get_random_blocks(cams, images):
    noise = torch.rand(2, 3, 4)
    relaxed = choose(build(), cams, images, torch.zeros(2, 3), noise)
    assert torch.equal(relaxed, build()(images, GRID, BEGIN, noise=noise))
    strict = build(strategy="cam_strict")
    assert not choose(strict, cams, images, torch.zeros(2, 3), noise).any()


def test_paper_numbers():
    generator = UncertaintyMaskGenerator()
    assert generator.block_grid((448, 448)) == (7, 7)
    assert generator.max_masked((448, 448), (28, 28)) == 20 * 16


@pytest.mark.parametrize("strategy", ["cam_relaxed", "edge_strict"])
def test_random_phase_is_the_first_fifth(strategy):
    generator = UncertaintyMaskGenerator(strategy=strategy)
    for max_iters in [*range(1, 200), 8000, 20000, 80000]:
        last = max_iters // 5
        assert generator.is_random(TrainingProgress(last, max_iters))
        assert not generator.is_random(TrainingProgress(last + 1, max_iters))


def test_random_phase_counts_in_decimals():
    generator = UncertaintyMaskGenerator(random_phase=0.29)  # 28.999... in floats
    assert not generator.needs_cams(TrainingProgress(29, 100))
    assert generator.needs_cams(TrainingProgress(30, 100))


@pytest.mark.parametrize("strategy", MASK_STRATEGIES)
def test_who_needs_cams(strategy):
    generator = build(strategy=strategy)
    assert not generator.needs_cams(BEGIN)
    assert generator.needs_cams(END) == strategy.startswith("cam")


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (dict(block_size=0), "block_size"),
        (dict(mask_ratio=1.5), "mask_ratio must be in 0..1, got 1.5"),
        (dict(mask_ratio=-0.1), "mask_ratio"),
        (dict(low_thr=0.8), "low_thr=0.8 and high_thr=0.7"),
        (dict(high_thr=1.2), "high_thr"),
        (dict(strategy="edges"), "'edges'.*cam_relaxed"),
        (dict(random_phase=2), "random_phase"),
    ],
)
def test_refuses_bad_arguments(kwargs, words):
    with pytest.raises(ValueError, match=words):
        UncertaintyMaskGenerator(**kwargs)


def test_refuses_images_that_blocks_do_not_tile():
    generator = UncertaintyMaskGenerator(block_size=64)
    for call in (
        lambda: generator.noise(torch.zeros(1, 3, 400, 448)),
        lambda: generator.max_masked((448, 400), (28, 25)),
    ):
        with pytest.raises(ValueError, match=r"400.*64.*set block_size"):
            call()


@pytest.mark.parametrize(
    ("block_size", "grid"),
    [
        (64, (10, 12)),  # 3 blocks do not divide 10 patches
        (64, (9, 9)),  # patches of 21.3 px
        (64, (1, 1)),  # patches larger than blocks
    ],
)
def test_refuses_patches_that_blocks_do_not_tile(block_size, grid):
    generator = UncertaintyMaskGenerator(block_size)
    with pytest.raises(ValueError, match=f"{grid[0]} x {grid[1]}.*set block_size"):
        generator(torch.zeros(1, 3, 192, 192), grid, BEGIN)


def test_refuses_noise_of_another_grid(images):
    with pytest.raises(ValueError, match=r"noise of shape \(2, 2, 2\): expected"):
        build()(images, GRID, BEGIN, noise=torch.rand(2, 2, 2))
