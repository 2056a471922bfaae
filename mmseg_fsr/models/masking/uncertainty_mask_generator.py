"""Masks for self-distillation, by CAMs, by edges or at random."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Literal, NamedTuple

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_fsr.utils.training_progress import TrainingProgress

from .blocks import (
    choose_blocks,
    choose_uncertain_first,
    choose_uncertain_only,
    num_masked_blocks,
    spread_blocks,
    uncertain_blocks_by_cams,
    uncertain_blocks_by_edges,
)


class MaskStrategy(NamedTuple):
    """How blocks are chosen once the random phase is over.

    Attributes:
        source: What says which blocks are uncertain; None leaves them random.
        choose: Chooses blocks from noise (B, bh, bw), uncertain blocks (B, bh, bw) and
            the number of blocks to mask.
    """

    source: Literal["cams", "edges"] | None = None
    choose: Callable[[Tensor, Tensor, int], Tensor] = choose_uncertain_first


# A new strategy is a line here, and a function in blocks.py if it chooses otherwise.
MASK_STRATEGIES: dict[str, MaskStrategy] = {
    "random": MaskStrategy(),
    "cam_relaxed": MaskStrategy("cams"),
    "cam_strict": MaskStrategy("cams", choose=choose_uncertain_only),
    "edge_relaxed": MaskStrategy("edges"),
    "edge_strict": MaskStrategy("edges", choose=choose_uncertain_only),
}


@MODELS.register_module()
class UncertaintyMaskGenerator(nn.Module):
    """Masks square blocks of an image, uncertain ones before others.

    By CAMs, a block is uncertain where the auxiliary CAM of the image's classes is
    neither low nor high; by edges, where its mean Sobel magnitude is above that of its
    image. For the first part of a run, while CAMs say nothing yet, blocks are random.
    FSR (AAAI 2024).

    Args:
        block_size: Side of a block in pixels. Defaults to 64.
        mask_ratio: Share of blocks to mask, rounded up to whole blocks. Defaults to
            0.4.
        low_thr: Up to this CAM value a block is background. Defaults to 0.2. Not the
            threshold of pseudo labels.
        high_thr: From this CAM value on a block is foreground. Defaults to 0.7. Not the
            threshold of pseudo labels.
        strategy: ``'random'``; ``'cam_relaxed'`` or ``'edge_relaxed'``, uncertain
            blocks first, then random ones up to ``mask_ratio``; ``'cam_strict'`` or
            ``'edge_strict'``, uncertain blocks only, up to ``mask_ratio``. Defaults to
            ``'cam_relaxed'``.
        random_phase: Share of the run with random blocks. Defaults to 0.2.

    Raises:
        ValueError: If an argument is out of range or the strategy unknown.

    Example:
        >>> generator = UncertaintyMaskGenerator(block_size=32)
        >>> images, last_step = torch.rand(2, 3, 128, 128), TrainingProgress(100, 100)
        >>> generator.needs_cams(last_step)
        True
        >>> cams, labels = torch.rand(2, 4, 128, 128), torch.ones(2, 4)
        >>> generator(images, (8, 8), last_step, cams, labels).shape
        torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        block_size: int = 64,
        mask_ratio: float = 0.4,
        low_thr: float = 0.2,
        high_thr: float = 0.7,
        strategy: str = "cam_relaxed",
        random_phase: float = 0.2,
    ) -> None:
        super().__init__()
        if block_size < 1:
            raise ValueError(
                f"mask_generator: block_size must be at least 1 pixel, got {block_size}"
            )
        if not 0 <= mask_ratio <= 1:
            raise ValueError(
                f"mask_generator: mask_ratio must be in 0..1, got {mask_ratio}"
            )
        if not 0 <= low_thr <= high_thr <= 1:
            raise ValueError(
                "mask_generator: expected 0 <= low_thr <= high_thr <= 1, got "
                f"low_thr={low_thr} and high_thr={high_thr}"
            )
        if strategy not in MASK_STRATEGIES:
            raise ValueError(
                f"mask_generator: unknown strategy {strategy!r}, choose one of "
                f"{', '.join(MASK_STRATEGIES)}"
            )
        if not 0 <= random_phase <= 1:
            raise ValueError(
                f"mask_generator: random_phase must be in 0..1, got {random_phase}"
            )
        self.block_size = block_size
        self.mask_ratio = mask_ratio
        self.low_thr = low_thr
        self.high_thr = high_thr
        self.strategy = strategy
        self._strategy = MASK_STRATEGIES[strategy]
        self.random_phase = random_phase

    def is_random(self, progress: TrainingProgress) -> bool:
        """Whether blocks are random at a step.

        Args:
            progress: Step, from 1, and length of the run.

        Returns:
            True with the strategy ``'random'``, and through step
            ``floor(random_phase * max_iters)``, in exact decimals.
        """
        random_steps = math.floor(Fraction(str(self.random_phase)) * progress.max_iters)
        return self._strategy.source is None or progress.step <= random_steps

    @property
    def uses_cams(self) -> bool:
        """Whether masks ever depend on CAMs."""
        return self._strategy.source == "cams"

    def needs_cams(self, progress: TrainingProgress) -> bool:
        """Whether the masks of a step depend on CAMs.

        Args:
            progress: Step, from 1, and length of the run.
        """
        return self.uses_cams and not self.is_random(progress)

    def noise(self, images: Tensor) -> Tensor:
        """Draws what decides between blocks of equal rank.

        Args:
            images: (B, 3, H, W), the images to mask.

        Returns:
            (B, bh, bw) float32, uniform in 0..1, on the images' device.
        """
        shape = (len(images), *self.block_grid(tuple(images.shape[-2:])))
        return torch.rand(shape, device=images.device)

    def forward(
        self,
        images: Tensor,
        grid: tuple[int, int],
        progress: TrainingProgress,
        cams: Tensor | None = None,
        labels: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Chooses the patches to mask.

        Args:
            images: (B, 3, H, W) float, the images to mask.
            grid: (h, w) of the patches.
            progress: Step, from 1, and length of the run.
            cams: (B, M, H, W) float in 0..1, auxiliary CAMs of M classes. Defaults to
                None, where :meth:`needs_cams` says no.
            labels: (B, M), which of them an image shows, multi-hot or bool. Defaults to
                None, likewise.
            noise: (B, bh, bw) float in 0..1, see :meth:`noise`. The same noise gives
                the same mask. Defaults to None, new noise.

        Returns:
            (B, h, w) bool, true = masked.

        Raises:
            ValueError: If blocks do not tile the images or the patches, or ``noise``
                is of another grid.
        """
        size = tuple(images.shape[-2:])
        num_masked = self._checked_num_masked(size, grid)
        if noise is None:
            noise = self.noise(images)
        expected = (len(images), *self.block_grid(size))
        if noise.shape != expected:
            raise ValueError(
                f"noise of shape {tuple(noise.shape)}: expected {expected}, a value "
                f"for each block of {self.block_size} px in images of {size}"
            )
        uncertain = self.uncertain_blocks(images, progress, cams, labels)
        if uncertain is None:
            blocks = choose_blocks(noise, num_masked)
        else:
            blocks = self._strategy.choose(noise, uncertain, num_masked)
        return spread_blocks(blocks, grid)

    def uncertain_blocks(
        self,
        images: Tensor,
        progress: TrainingProgress,
        cams: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tensor | None:
        """The uncertain blocks of images to mask.

        Args:
            images: As in :meth:`forward`, and so are the other arguments.
            progress: Step, from 1, and length of the run.
            cams: Auxiliary CAMs. Defaults to None.
            labels: Labels of the CAMs. Defaults to None.

        Returns:
            (B, bh, bw) bool; None while blocks are random.
        """
        if self.is_random(progress):
            return None
        block_grid = self.block_grid(tuple(images.shape[-2:]))
        if self._strategy.source == "edges":
            return uncertain_blocks_by_edges(images, block_grid)
        return uncertain_blocks_by_cams(
            cams, labels, block_grid, self.low_thr, self.high_thr
        )

    def max_masked(self, size: tuple[int, int], grid: tuple[int, int]) -> int:
        """Largest number of masked patches of an image, known without a mask.

        Args:
            size: (H, W) of the images in pixels.
            grid: (h, w) of the patches.

        Returns:
            Number of masked patches. The strict strategies may mask fewer.

        Raises:
            ValueError: If blocks do not tile the images or the patches.
        """
        patches_per_block = math.prod(grid) // math.prod(self.block_grid(size))
        return self._checked_num_masked(size, grid) * patches_per_block

    def block_grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Number of blocks down and across images of (H, W) pixels.

        Raises:
            ValueError: If blocks do not tile the images.
        """
        height, width = size
        if height % self.block_size or width % self.block_size or not min(size):
            raise ValueError(
                f"images of {height} x {width} px cannot be cut into blocks of "
                f"{self.block_size} px: set block_size of mask_generator to a divisor "
                "of both sides, or the crop size to a multiple of block_size"
            )
        return height // self.block_size, width // self.block_size

    def _checked_num_masked(self, size: tuple[int, int], grid: tuple[int, int]) -> int:
        """Number of blocks to mask; refuses blocks that do not tile the patches."""
        block_grid = self.block_grid(size)
        tiles = all(
            patches > 0
            and patches % blocks == 0
            and self.block_size % (patches // blocks) == 0
            for patches, blocks in zip(grid, block_grid, strict=True)
        )
        if not tiles:
            raise ValueError(
                f"{block_grid[0]} x {block_grid[1]} blocks of {self.block_size} px do "
                f"not divide the patch grid {grid[0]} x {grid[1]} of images of "
                f"{size[0]} x {size[1]} px: set block_size of mask_generator to a "
                "multiple of the patch size"
            )
        return num_masked_blocks(math.prod(block_grid), self.mask_ratio)
