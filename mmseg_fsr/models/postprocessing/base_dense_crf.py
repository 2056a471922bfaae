"""What both engines of the dense CRF share: settings, interface and checks."""

from abc import ABCMeta, abstractmethod
from concurrent.futures import Future

import torch
from torch import Tensor


class BaseDenseCRF(metaclass=ABCMeta):
    """Mean field of a fully connected CRF with a Potts model.

    Source: Krähenbühl and Koltun, *Efficient Inference in Fully Connected CRFs with
    Gaussian Edge Potentials*, NeurIPS 2011. The unary energy is the negative logarithm
    of the probabilities, which are held above 1e-5 as pydensecrf's
    ``unary_from_softmax`` does. A spatial and a bilateral kernel join each pixel to all
    pixels; both are computed on the permutohedral lattice and normalised symmetrically.
    The defaults are those of FSR's inference.

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
    """

    #: Least probability that the unary energy tells from 0.
    min_prob = 1e-5

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

    @property
    def max_pending(self) -> int:
        """How many submitted images it takes to keep the engine busy."""
        return 0

    @abstractmethod
    def __call__(self, images: Tensor, probs: Tensor) -> Tensor:
        """Refines the probabilities of a batch.

        Args:
            images: RGB images, uint8, 0..255 (B, 3, H, W).
            probs: Probabilities, float32, 0..1 (B, C, H, W).

        Returns:
            Refined probabilities, float32 (B, C, H, W), on the device of ``probs``.

        Raises:
            TypeError: If a dtype is another.
            ValueError: If the shapes do not agree, or a result is not finite.
        """

    @abstractmethod
    def submit(self, image: Tensor, probs: Tensor) -> Future[Tensor]:
        """Refines the probabilities of one image, in the background if it can.

        The tensors must stay as they are until the future is done.

        Args:
            image: RGB image, uint8, 0..255 (3, H, W).
            probs: Probabilities, float32, 0..1 (C, H, W).

        Returns:
            Future of the refined probabilities, float32 (C, H, W), on the device of
            ``probs``.

        Raises:
            TypeError: If a dtype is another.
            ValueError: If the shapes do not agree.
        """

    def close(self) -> None:  # noqa: B027  (not every engine has something to end)
        """Drops what is pending and ends what runs; a later call starts anew."""


def check_inputs(images: Tensor, probs: Tensor, batched: bool) -> None:
    """Refuses images and probabilities that do not belong together.

    Args:
        images: Should be uint8 (B, 3, H, W), or (3, H, W).
        probs: Should be float32 (B, C, H, W), or (C, H, W), with at least two classes.
        batched: Which of the two.

    Raises:
        TypeError: If a dtype is another.
        ValueError: If the shapes do not agree.
    """
    if images.dtype != torch.uint8 or probs.dtype != torch.float32:
        raise TypeError(
            "a dense CRF takes uint8 images and float32 probabilities, but got"
            f" {images.dtype} and {probs.dtype}"
        )
    lead = 1 if batched else 0
    if (
        images.dim() != lead + 3
        or probs.dim() != lead + 3
        or images.shape[lead] != 3
        or probs.shape[lead] < 2
        or images.shape[:lead] != probs.shape[:lead]
        or images.shape[-2:] != probs.shape[-2:]
        or images.numel() == 0
    ):
        batch = "B, " if batched else ""
        raise ValueError(
            f"a dense CRF takes an RGB image ({batch}3, H, W) and probabilities"
            f" ({batch}C, H, W) of two or more classes, none of them empty, but got"
            f" {tuple(images.shape)} and {tuple(probs.shape)}"
        )


def require_finite(refined: Tensor) -> Tensor:
    """Refuses results that would turn into labels all the same.

    Args:
        refined: Refined probabilities, any shape.

    Returns:
        The same.

    Raises:
        ValueError: If one is infinite or not a number.
    """
    if not refined.isfinite().all():
        raise ValueError(
            "the dense CRF's result is not finite: either the probabilities were not,"
            " or a standard deviation is too small for the lattice"
        )
    return refined
