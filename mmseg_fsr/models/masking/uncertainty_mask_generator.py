"""Masks of view 2 for self-distillation."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_fsr.engine.training_progress import TrainingProgress

from .block_mask import (
    choose_blocks,
    choose_uncertain_first,
    choose_uncertain_only,
    num_masked_blocks,
    spread_blocks,
    uncertain_blocks,
)
from .edge_blocks import edge_blocks


class MaskStrategy(NamedTuple):
    """How blocks are chosen once the random phase is over.

    Attributes:
        cue: What tells uncertain blocks: ``'cams'``, ``'edges'``, None nothing.
        choose: Chooses from noise (B, bh, bw), uncertain blocks (B, bh, bw) bool and
            the number of blocks to mask.
    """

    cue: str | None
    choose: Callable[[Tensor, Tensor, int], Tensor] = choose_uncertain_first


MASK_STRATEGIES: dict[str, MaskStrategy] = {
    "random": MaskStrategy(None),
    "cam_relaxed": MaskStrategy("cams"),
    "cam_strict": MaskStrategy("cams", choose_uncertain_only),
    "edge_relaxed": MaskStrategy("edges"),
    "edge_strict": MaskStrategy("edges", choose_uncertain_only),
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
        >>> noise = generator.noise(2, (128, 128))
        >>> cams, labels = torch.rand(2, 4, 128, 128), torch.ones(2, 4)
        >>> uncertain = generator.uncertain_by_cams(cams, labels)
        >>> generator(noise, (128, 128), (8, 8), uncertain).shape
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

    def cue(self, progress: TrainingProgress) -> str | None:
        """What tells uncertain blocks at this step.

        Args:
            progress: Step, from 1, and length of the run.

        Returns:
            ``'cams'`` or ``'edges'``; None, for random blocks, with the strategy
            ``'random'`` and through step ``floor(random_phase * max_iters)``, in exact
            decimals.
        """
        random_steps = math.floor(Fraction(str(self.random_phase)) * progress.max_iters)
        return self._strategy.cue if progress.step > random_steps else None

    def noise(
        self,
        batch_size: int,
        size: tuple[int, int],
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draws what decides between blocks of equal rank.

        Args:
            batch_size: B.
            size: (H, W) of the images in pixels.
            device: That of the CAMs. Defaults to None, the default device.

        Returns:
            (B, bh, bw) float32, uniform in 0..1.
        """
        return torch.rand(batch_size, *self.block_grid(size), device=device)

    def forward(
        self,
        noise: Tensor,
        size: tuple[int, int],
        grid: tuple[int, int],
        uncertain: Tensor | None = None,
    ) -> Tensor:
        """Chooses the patches to mask.

        Args:
            noise: (B, bh, bw) float in 0..1, one value a block, see :meth:`noise`. The
                same noise gives the same mask.
            size: (H, W) of the images in pixels.
            grid: (h, w) of the patches.
            uncertain: (B, bh, bw) bool, the uncertain blocks, see :meth:`uncertain`.
                None masks random blocks, as the first part of a run does, see
                :meth:`cue`. Defaults to None.

        Returns:
            (B, h, w) bool, true = masked.

        Raises:
            ValueError: If blocks do not tile the images or the patches, or ``noise``
                is of another grid.
        """
        block_grid = self.block_grid(size)
        self._check_grid(block_grid, size, grid)
        if tuple(noise.shape[1:]) != block_grid:
            raise ValueError(
                f"noise of shape {tuple(noise.shape)} does not fit {block_grid} "
                f"blocks of {self.block_size} px in images of {tuple(size)}: draw it "
                "with noise(batch_size, size)"
            )
        num_masked = self._num_masked(block_grid)
        if uncertain is None or self._strategy.cue is None:
            mask = choose_blocks(noise, num_masked)
        else:
            mask = self._strategy.choose(noise, uncertain, num_masked)
        return spread_blocks(mask, grid)

    def uncertain(
        self, cue: str | None, images: Tensor, cams: Tensor | None, labels: Tensor
    ) -> Tensor | None:
        """The uncertain blocks of images to mask, by what tells them.

        Args:
            cue: What tells them, see :meth:`cue`.
            images: (B, 3, H, W) float.
            cams: (B, K, H, W) float in 0..1, their auxiliary CAMs; None will do without
                the cue ``'cams'``.
            labels: (B, K) multi-hot image labels.

        Returns:
            (B, bh, bw) bool, None without a cue.
        """
        if cue == "cams":
            return self.uncertain_by_cams(cams, labels)
        if cue == "edges":
            return self.uncertain_by_edges(images)
        return None

    def uncertain_by_cams(self, cams: Tensor, labels: Tensor) -> Tensor:
        """Blocks whose CAM is neither low nor high.

        Args:
            cams: (B, K, H, W) float in 0..1, auxiliary CAMs of the images to mask.
            labels: (B, K) multi-hot image labels.

        Returns:
            (B, bh, bw) bool.
        """
        block_grid = self.block_grid(tuple(cams.shape[-2:]))
        return uncertain_blocks(cams, labels, block_grid, self.low_thr, self.high_thr)

    def uncertain_by_edges(self, images: Tensor) -> Tensor:
        """Blocks with stronger edges than others of their image.

        Args:
            images: (B, 3, H, W) float, the images to mask.

        Returns:
            (B, bh, bw) bool.
        """
        return edge_blocks(images, self.block_grid(tuple(images.shape[-2:])))

    def max_masked(self, size: tuple[int, int], grid: tuple[int, int]) -> int:
        """Largest number of masked patches of an image, known without a mask.

        Args:
            size: (H, W) of the images in pixels.
            grid: (h, w) of the patches.

        Returns:
            Exactly that many are masked, but for the strict strategies, which may mask
            fewer.

        Raises:
            ValueError: If blocks do not tile the images or the patches.
        """
        block_grid = self.block_grid(size)
        self._check_grid(block_grid, size, grid)
        patches_per_block = math.prod(grid) // math.prod(block_grid)
        return self._num_masked(block_grid) * patches_per_block

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

    def _num_masked(self, block_grid: tuple[int, int]) -> int:
        return num_masked_blocks(math.prod(block_grid), self.mask_ratio)

    def _check_grid(
        self,
        block_grid: tuple[int, int],
        size: tuple[int, int],
        grid: tuple[int, int],
    ) -> None:
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
