"""Batching and normalisation of several views of each image."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class MultiViewSegDataPreProcessor(SegDataPreProcessor):
    """``SegDataPreProcessor`` that also takes several views of each image.

    Views (``inputs`` is a dict of lists) are copied to the device as they are,
    mostly uint8, and there stacked, converted and normalised as one batch a view.
    ``SegDataPreProcessor`` itself handles single images, as in testing.

    With ``pin_memory=True`` in the data loader no copy makes the host wait for the
    device. The loader pins the views. It does not pin the labels, but CUDA copies less
    than 64 KB without waiting (CUDA C++ Programming Guide, "Concurrent Execution
    between Host and Device").

    Args:
        mean: Mean of each channel, in the order that the network gets, usually R,
            G, B, in 0..255. Not normalised if None, as by default.
        std: Standard deviation of each channel, likewise.
        bgr_to_rgb: Whether images, which MMCV loads as BGR, reach the network as
            RGB. Defaults to False.
        **kwargs: Further arguments of ``SegDataPreProcessor``, without
            ``rgb_to_bgr``.

    Raises:
        ValueError: If ``rgb_to_bgr`` is set.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(mean=mean, std=std, bgr_to_rgb=bgr_to_rgb, **kwargs)
        if kwargs.get("rgb_to_bgr"):
            raise ValueError(
                "rgb_to_bgr is not supported, as MMCV loads images as BGR: set "
                "bgr_to_rgb or neither in data_preprocessor"
            )
        # The base class has it as `_channel_conversion` in OneDL's mmseg and as
        # `channel_conversion` in OpenMMLab's.
        self._bgr_to_rgb = bgr_to_rgb
        self._normalizes = mean is not None
        # mmengine's argument `non_blocking`, which mmseg's class does not hand on.
        self._non_blocking = True

    # torch.compile would compile this anew for the image names of each step.
    @torch.compiler.disable
    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Batches what the data loader gives.

        Args:
            data: ``inputs`` and ``data_samples``. ``inputs`` is either a dict of
                views, each a list of B tensors (3, H, W) or a tensor (B, 3, H, W),
                or a list of B tensors (3, H, W).
            training: Passed on for single images. Defaults to False.

        Returns:
            ``inputs``: a dict of float32 tensors (B, 3, H, W) by view, or one such
            tensor; ``data_samples``: the samples, on the device.

        Raises:
            ValueError: If the images of a view differ in size.
        """
        if not isinstance(data["inputs"], Mapping):
            return super().forward(data, training)
        # Before stacking: a tensor that is stacked on the host is not pinned.
        data = self.cast_data(data)
        return dict(
            inputs={
                name: self._normalize(_stack(images, name))
                for name, images in data["inputs"].items()
            },
            data_samples=data.get("data_samples"),
        )

    def denormalize(self, images: Tensor) -> Tensor:
        """Undoes the normalisation, and any order of channels but RGB.

        Args:
            images: Images (B, 3, H, W) as the network gets them.

        Returns:
            Float32 tensor of the same shape: RGB, 0..255, neither rounded nor
            clamped.
        """
        images = images.float()
        if self._normalizes:
            images = images * self.std + self.mean
        return images if self._bgr_to_rgb else images.flip(1)

    def _normalize(self, images: Tensor) -> Tensor:
        """Channels in the network's order, float32, normalised."""
        if self._bgr_to_rgb:
            images = images.flip(1)
        images = images.float()
        return (images - self.mean) / self.std if self._normalizes else images


def _stack(images: Sequence[Tensor] | Tensor, name: str) -> Tensor:
    """One tensor (B, 3, H, W) of the images' dtype."""
    if isinstance(images, Tensor):
        return images
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) > 1:
        raise ValueError(
            f"the images of '{name}' in a batch must have one shape, got "
            f"{shapes}: crop or resize to a fixed size in the pipeline"
        )
    return torch.stack(list(images))
