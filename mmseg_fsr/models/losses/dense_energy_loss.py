"""Dense energy loss: neighbouring pixels of like colour should agree.

Source: Tang et al., *On Regularized Losses for Weakly-supervised CNN Segmentation*,
ECCV 2018, with the gate and gradient of FSR (AAAI 2024).
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_fsr.ops import PermutohedralLattice, bilateral_features
from mmseg_fsr.utils.label_ids import IGNORE_INDEX


class _GatedEnergy(torch.autograd.Function):
    """``-(1 / B) sum S G (W S)``, whose gradient at S is taken as -(2 / B) G (W S).

    The gradient treats the gated kernel as symmetric, as FSR does: it is not the
    derivative of the value, and a second derivative does not exist.
    """

    @staticmethod
    def forward(ctx: Any, probs: Tensor, gate: Tensor, filtered: Tensor) -> Tensor:
        gated = gate * filtered
        ctx.save_for_backward(gated)
        return -(probs * gated).sum() / len(probs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gated,) = ctx.saved_tensors
        return gated * (-2 / len(gated) * grad), None, None


def dense_energy(
    images: Tensor,
    probs: Tensor,
    ignored: Tensor,
    sigma_rgb: float,
    sigma_xy: float,
) -> Tensor:
    """Computes the gated dense energy of probability maps.

    With W the bilateral kernel on the permutohedral lattice, not normalised, the
    energy is ``-(1 / B) sum S G (W S)``. The gate G, ``max(0, 1 - max_k S)`` and 1 on
    ignored pixels, lets through what the maps are unsure of; it has no gradient.

    Args:
        images: RGB images, float32, 0..255 (B, 3, H, W).
        probs: Probability maps S, float32, 0..1 (B, K+1, H, W).
        ignored: True where the pixel has no label, bool (B, H, W).
        sigma_rgb: Standard deviation of the kernel in colour, in grey levels.
        sigma_xy: Standard deviation of the kernel in position, in pixels.

    Returns:
        Energy, float32 scalar, not positive. Its gradient at S is taken as ``-(2 / B) G
        (W S)``.
    """
    with torch.no_grad():
        confidence = probs.amax(dim=1)
        gate = (1 - confidence).clamp(min=0).masked_fill(ignored, 1).unsqueeze(1)
        lattice = PermutohedralLattice(bilateral_features(images, sigma_rgb, sigma_xy))
        filtered = lattice.filter(probs.flatten(2)).view_as(probs)
    return _GatedEnergy.apply(probs, gate, filtered)


@MODELS.register_module()
class DenseEnergyLoss(nn.Module):
    """Dense energy of the softmax of a decoder's logits, at reduced size.

    The image and the label are reduced to the nearest pixel, the probabilities
    bilinearly. It runs on the tensors' device, in float32 also under autocast.

    Args:
        loss_weight: Factor of the loss. Defaults to 5e-9, FSR's 1e-7 of the energy
            times 0.05 of the loss.
        sigma_rgb: Standard deviation of the kernel in colour, in grey levels of 0..255.
            Defaults to 15.
        sigma_xy: Standard deviation of the kernel in position, in pixels of the
            full-size image. Defaults to 100.
        scale_factor: Size at which the energy is computed, relative to the image, in
            (0, 1]. Defaults to 0.5.

    Raises:
        ValueError: If a standard deviation is not positive or ``scale_factor`` not in
            (0, 1].

    Example:
        >>> loss = DenseEnergyLoss()
        >>> images = torch.rand(2, 3, 32, 32) * 255
        >>> label = torch.zeros(2, 32, 32, dtype=torch.long)
        >>> loss(images, torch.randn(2, 21, 32, 32), label).shape
        torch.Size([])
    """

    def __init__(
        self,
        loss_weight: float = 5e-9,
        sigma_rgb: float = 15.0,
        sigma_xy: float = 100.0,
        scale_factor: float = 0.5,
    ) -> None:
        super().__init__()
        if sigma_rgb <= 0 or sigma_xy <= 0:
            raise ValueError(
                "sigma_rgb and sigma_xy must be positive, but got"
                f" sigma_rgb={sigma_rgb}, sigma_xy={sigma_xy}"
            )
        if not 0 < scale_factor <= 1:
            raise ValueError(f"scale_factor must be in (0, 1], but got {scale_factor}")
        self.loss_weight = loss_weight
        self.sigma_rgb = sigma_rgb
        self.sigma_xy = sigma_xy
        self.scale_factor = scale_factor

    def forward(self, images: Tensor, seg_logits: Tensor, label: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            images: RGB images, not normalised, 0..255, any real dtype (B, 3, H, W).
            seg_logits: Logits at the images' size, floating point (B, K+1, H, W).
            label: Labels, integer (B, H, W), 255 = ignored.

        Returns:
            Loss, float32 scalar.

        Raises:
            ValueError: If the shapes do not agree.
        """
        batch, _, height, width = seg_logits.shape
        if images.shape != (batch, 3, height, width) or label.shape != (
            batch,
            height,
            width,
        ):
            raise ValueError(
                "images (B, 3, H, W), seg_logits (B, K+1, H, W) and label (B, H, W)"
                f" must share B, H and W, but got {tuple(images.shape)},"
                f" {tuple(seg_logits.shape)} and {tuple(label.shape)}"
            )
        with torch.autocast(device_type=seg_logits.device.type, enabled=False):
            probs = self._resize(
                seg_logits.float().softmax(dim=1), mode="bilinear", align_corners=False
            )
            ignored = (label == IGNORE_INDEX).unsqueeze(1).float()
            energy = dense_energy(
                self._resize(images.float(), mode="nearest"),
                probs,
                self._resize(ignored, mode="nearest").squeeze(1) > 0,
                self.sigma_rgb,
                self.sigma_xy * self.scale_factor,
            )
            return self.loss_weight * energy

    def _resize(self, maps: Tensor, **kwargs: Any) -> Tensor:
        """Maps (B, C, H, W) at the size at which the energy is computed."""
        size = [max(1, int(side * self.scale_factor)) for side in maps.shape[2:]]
        return F.interpolate(maps, size=size, **kwargs)
