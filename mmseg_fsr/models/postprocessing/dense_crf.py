"""Dense CRF in PyTorch, on the device of the probabilities."""

import functools
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_fsr.ops import PermutohedralLattice, bilateral_features, position_features

from .base_dense_crf import BaseDenseCRF, check_inputs, require_finite

# Sizes of images whose spatial lattice is kept: most of a data set have few sizes.
_KEPT_SIZES = 4


def mean_field(
    log_probs: Tensor,
    kernels: Sequence[tuple[PermutohedralLattice, float]],
    num_iters: int,
) -> Tensor:
    """Runs the parallel mean field of a Potts model.

    Each step sets ``q = softmax(log_probs + sum of weight x kernel(q))``, a pixel's
    message to itself included, as in pydensecrf.

    Args:
        log_probs: Negative unary energy, floating point (P, C), a row a pixel.
        kernels: Filters of the P pixels, and their weights.
        num_iters: Steps.

    Returns:
        Probabilities (P, C).
    """
    q = log_probs.softmax(dim=1)
    for _ in range(num_iters):
        logits = log_probs
        for lattice, weight in kernels:
            filtered = lattice.filter_rows(q)
            logits = torch.add(logits, filtered, alpha=weight, out=filtered)
        torch.softmax(logits, dim=1, out=q)
    return q


def spatial_lattice(
    batch: int, height: int, width: int, std: float, device: torch.device
) -> PermutohedralLattice:
    """Builds the normalised spatial kernel of a batch of images of one size.

    Args:
        batch: Number of images.
        height: Rows of the images.
        width: Columns of the images.
        std: Standard deviation, in pixels.
        device: Where to build it.

    Returns:
        The lattice of the B*H*W pixels.
    """
    features = position_features(height, width, std, device)
    return PermutohedralLattice(
        features.expand(batch, -1, -1), normalized=True, compact=True
    )


@MODELS.register_module()
class DenseCRF(BaseDenseCRF):
    """Dense CRF in PyTorch; see :class:`BaseDenseCRF` for the method and settings.

    It runs on the device of the probabilities, a batch at once, and gives what
    pydensecrf gives to about four digits. The images may lie elsewhere.

    Example:
        >>> crf = DenseCRF(num_iters=2)
        >>> images = torch.randint(256, (2, 3, 8, 9), dtype=torch.uint8)
        >>> crf(images, torch.rand(2, 4, 8, 9).softmax(dim=1)).shape
        torch.Size([2, 4, 8, 9])
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._spatial_lattice = functools.lru_cache(_KEPT_SIZES)(spatial_lattice)

    @torch.no_grad()
    def __call__(self, images: Tensor, probs: Tensor) -> Tensor:
        """Refines a batch; see :class:`BaseDenseCRF`."""
        check_inputs(images, probs, batched=True)
        batch, classes, height, width = probs.shape
        colour = images.to(probs.device).float()
        bilateral = PermutohedralLattice(
            bilateral_features(colour, self.bi_rgb_std, self.bi_xy_std),
            normalized=True,
            compact=True,
        )
        spatial = self._spatial_lattice(
            batch, height, width, self.pos_xy_std, probs.device
        )
        rows = probs.flatten(2).transpose(1, 2).reshape(-1, classes)
        q = mean_field(
            rows.clamp(min=self.min_prob, max=1).contiguous().log_(),
            [(spatial, self.pos_weight), (bilateral, self.bi_weight)],
            self.num_iters,
        )
        refined = q.view(batch, -1, classes).transpose(1, 2).contiguous()
        return require_finite(refined.view_as(probs))

    def submit(self, image: Tensor, probs: Tensor) -> Future[Tensor]:
        """Refines one image at once; see :class:`BaseDenseCRF`."""
        check_inputs(image, probs, batched=False)
        future: Future[Tensor] = Future()
        future.set_result(self(image[None], probs[None])[0])
        return future
