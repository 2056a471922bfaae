"""Dense CRF in PyTorch, on the device of the probabilities."""

import functools
from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_fsr.ops import PermutohedralLattice, bilateral_features, position_features

# Least probability that the unary energy tells from 0, as in pydensecrf.
_MIN_PROB = 1e-5
# How many image sizes keep their spatial lattice; most images share a few sizes.
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


def _spatial_lattice(
    batch: int, height: int, width: int, std: float, device: torch.device
) -> PermutohedralLattice:
    """The normalised spatial kernel of a batch; ``std`` in pixels."""
    features = position_features(height, width, std, device)
    return PermutohedralLattice(
        features.expand(batch, -1, -1), normalized=True, compact=True
    )


@MODELS.register_module()
class DenseCRF:
    """Mean field of a fully connected CRF with a Potts model.

    Source: Krähenbühl and Koltun, *Efficient Inference in Fully Connected CRFs with
    Gaussian Edge Potentials*, NeurIPS 2011. The unary energy is the negative logarithm
    of the probabilities, which are held above 1e-5. A spatial and a bilateral kernel
    join each pixel to all pixels; both are computed on the permutohedral lattice and
    normalised symmetrically. The defaults are those of FSR's inference. The results
    are those of pydensecrf to about four digits.

    Args:
        num_iters: Steps of the mean field. Defaults to 10.
        pos_xy_std: Standard deviation of the spatial kernel, in pixels. Defaults to 1.
        pos_weight: Weight of the spatial kernel. Defaults to 1.
        bi_xy_std: Standard deviation of the bilateral kernel in position, in pixels.
            Defaults to 121.
        bi_rgb_std: Standard deviation of the bilateral kernel in colour, in grey
            levels of 0..255. Defaults to 5.
        bi_weight: Weight of the bilateral kernel. Defaults to 4.

    Raises:
        ValueError: If ``num_iters`` is below 1, a standard deviation not positive or a
            weight negative.

    Example:
        >>> crf = DenseCRF(num_iters=2)
        >>> images = torch.randint(256, (2, 3, 8, 9), dtype=torch.uint8)
        >>> crf(images, torch.rand(2, 4, 8, 9).softmax(dim=1)).shape
        torch.Size([2, 4, 8, 9])
    """

    def __init__(
        self,
        num_iters: int = 10,
        pos_xy_std: float = 1,
        pos_weight: float = 1,
        bi_xy_std: float = 121,
        bi_rgb_std: float = 5,
        bi_weight: float = 4,
    ) -> None:
        if num_iters < 1:
            raise ValueError(f"num_iters={num_iters}: expected at least 1")
        for name, std in (
            ("pos_xy_std", pos_xy_std),
            ("bi_xy_std", bi_xy_std),
            ("bi_rgb_std", bi_rgb_std),
        ):
            if not std > 0:
                raise ValueError(f"{name}={std}: expected a positive number")
        for name, weight in (("pos_weight", pos_weight), ("bi_weight", bi_weight)):
            if not weight >= 0:
                raise ValueError(f"{name}={weight}: expected a number of 0 or more")
        self.num_iters = num_iters
        self.pos_xy_std = pos_xy_std
        self.pos_weight = pos_weight
        self.bi_xy_std = bi_xy_std
        self.bi_rgb_std = bi_rgb_std
        self.bi_weight = bi_weight
        self._spatial_lattice = functools.lru_cache(_KEPT_SIZES)(_spatial_lattice)

    @torch.no_grad()
    def __call__(self, images: Tensor, probs: Tensor) -> Tensor:
        """Refines the probabilities of a batch.

        Args:
            images: RGB images, uint8, 0..255 (B, 3, H, W), on any device.
            probs: Probabilities, float32, 0..1 (B, C, H, W), of two or more classes.

        Returns:
            Refined probabilities, float32 (B, C, H, W), on the device of ``probs``.

        Raises:
            TypeError: If they are no tensors, or a dtype is another.
            ValueError: If the shapes do not agree, values are no probabilities, or a
                result is not finite.
        """
        _check_inputs(images, probs)
        batch, classes, height, width = probs.shape
        colors = images.to(probs.device).float()
        bilateral = PermutohedralLattice(
            bilateral_features(colors, self.bi_rgb_std, self.bi_xy_std),
            normalized=True,
            compact=True,
        )
        spatial = self._spatial_lattice(
            batch, height, width, self.pos_xy_std, probs.device
        )
        rows = probs.flatten(2).transpose(1, 2).reshape(-1, classes)
        q = mean_field(
            rows.clamp(min=_MIN_PROB, max=1).contiguous().log_(),
            [(spatial, self.pos_weight), (bilateral, self.bi_weight)],
            self.num_iters,
        )
        if not q.isfinite().all():
            raise ValueError(
                "the dense CRF's result is not finite: either the probabilities were "
                "not, or a standard deviation is too small for the lattice"
            )
        refined = q.view(batch, -1, classes).transpose(1, 2).contiguous()
        return refined.view(probs.shape)


def _check_inputs(images: Tensor, probs: Tensor) -> None:
    """Refuses images and probabilities that do not belong together."""
    kinds = [
        value.dtype if isinstance(value, Tensor) else type(value)
        for value in (images, probs)
    ]
    if kinds != [torch.uint8, torch.float32]:
        raise TypeError(
            "a dense CRF takes tensors, uint8 RGB images and float32 probabilities, "
            f"but got {kinds[0]} and {kinds[1]}"
        )
    if (
        images.dim() != 4
        or probs.dim() != 4
        or images.shape[1] != 3
        or probs.shape[1] < 2
        or images.shape[0] != probs.shape[0]
        or images.shape[2:] != probs.shape[2:]
        or images.numel() == 0
    ):
        raise ValueError(
            "a dense CRF takes RGB images (B, 3, H, W) and probabilities (B, C, H, W) "
            "of two or more classes, none of them empty, but got "
            f"{tuple(images.shape)} and {tuple(probs.shape)}"
        )
    lowest, highest = probs.aminmax()
    # Sums of float32 go a little beyond 1; what is not finite fails at the end.
    if lowest < 0 or highest > 1.001:
        raise ValueError(
            "a dense CRF takes probabilities from 0 to 1, but got values from "
            f"{lowest:.6g} to {highest:.6g}: logits.softmax(dim=1) makes them of logits"
        )
