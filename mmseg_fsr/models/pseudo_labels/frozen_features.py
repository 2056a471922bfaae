"""Features of a pretrained ViT that nothing trains."""

import logging
import math
from collections.abc import Sequence
from typing import NoReturn

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_fsr.checkpoints.pretrained import load_pretrained_backbone
from mmseg_fsr.utils.random_state import kept_random_state

_OF_ATTENTION = ("queries", "keys", "values")
PARTS = (*_OF_ATTENTION, "tokens")


class _Reached(Exception):
    """Ends a pass at the wanted tensor: nothing needs the rest of the network."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


@MODELS.register_module()
class FrozenFeatures:
    """Cells of one block of a ViT, such as DINO's, DINOv2's, CLIP's or MAE's.

    It is no ``nn.Module``: the network is in no checkpoint, no optimiser and no
    teacher, and copies share it. Its weights are read when a training begins, or else
    at the first use, which segmentation alone does not need.

    Args:
        backbone: Config of a ViT, ``type='mmpretrain.VisionTransformer'``, or timm's by
            ``type='mmpretrain.TIMMBackbone'`` with ``dynamic_img_size=True``. Its
            ``init_cfg=dict(type='Pretrained', checkpoint=...)`` takes what that of
            :class:`~mmseg_fsr.models.backbones.FSRViT` does; None keeps the weights
            that the network is built with, such as timm's with ``pretrained=True``. A
            warning says so if these are random.
        part: ``'queries'``, ``'keys'`` or ``'values'`` of the block's attention, or its
            output, ``'tokens'``. Defaults to ``'queries'``.
        block: Number of the block, from 0, or from the end. Defaults to -1.
        scale_factor: Size of the network's input by that of the images, > 0. Each side
            becomes a multiple of the patch. Defaults to 1.0.
        mean: Mean of the network's input, RGB in 0..255. Defaults to ImageNet's.
        std: Its standard deviation. Defaults to ImageNet's.

    Attributes:
        network: The ViT, in evaluation mode.
        init_cfg: The weights that are still to be read; None once they are.

    Raises:
        ValueError: If ``backbone`` has no ``init_cfg``, ``part`` is unknown,
            ``scale_factor`` is not positive, ``mean`` and ``std`` are not of 0..255, or
            the network has no such block, part or patches.
    """

    def __init__(
        self,
        backbone: dict,
        part: str = "queries",
        block: int = -1,
        scale_factor: float = 1.0,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
    ) -> None:
        if part not in PARTS or not 0 < scale_factor < math.inf:
            raise ValueError(
                f"part={part!r} and scale_factor={scale_factor} of FrozenFeatures: "
                f"expected one of {PARTS}, and a factor above 0"
            )
        if not len(mean) == len(std) == 3 or not 1 < min(std) <= max(std) < math.inf:
            raise ValueError(
                f"mean={tuple(mean)} and std={tuple(std)} of FrozenFeatures: expected "
                "three numbers each for pixels in 0..255; those for 0..1 times 255"
            )
        if "init_cfg" not in backbone:
            raise ValueError(
                "FrozenFeatures.backbone has no init_cfg, so its features would be "
                "random: name its weights in init_cfg=dict(type='Pretrained', "
                "checkpoint=...), or set init_cfg=None if it is built with them"
            )
        self.part = part
        self.scale_factor = scale_factor
        backbone = dict(backbone)
        self.init_cfg = backbone.pop("init_cfg")
        if not any(
            (self.init_cfg, backbone.get("pretrained"), backbone.get("checkpoint_path"))
        ):
            print_log(
                "FrozenFeatures.backbone has init_cfg=None and no pretrained=True: its "
                "features are random",
                logger="current",
                level=logging.WARNING,
            )
        with kept_random_state():
            # Trained networks begin with the same weights with it and without.
            self.network = MODELS.build(backbone).requires_grad_(False)
        # mmpretrain's networks do not return themselves here.
        self.network.eval()
        for name, values in (("pixel_mean", mean), ("pixel_std", std)):
            values = torch.tensor(values)[:, None, None]
            self.network.register_buffer(name, values, persistent=False)
        watched, self.patch_size = _wanted_part(self._vit, block, part)
        watched.register_forward_hook(_stop)
        self._takes_any_size = False

    @property
    def _vit(self) -> nn.Module:
        """The ViT inside mmpretrain's wrapper of timm's."""
        return getattr(self.network, "timm_model", self.network)

    def __deepcopy__(self, memo: dict) -> "FrozenFeatures":
        """Itself: a segmentor and its teacher share the network."""
        return self

    # The hook's exception would break torch.compile's graph.
    @torch.compiler.disable
    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: (B, 3, H, W) float RGB in 0..255.

        Returns:
            (B, C, h, w), a cell for each patch; under autocast in its dtype.

        Raises:
            FileNotFoundError: At the first use, if there are no such weights.
            ValueError: At the first use, if the weights do not fit, or the network
                passes by the wanted part.
        """
        self.prepare(images.device)
        grid = [
            max(round(side * self.scale_factor / self.patch_size), 1)
            for side in images.shape[-2:]
        ]
        size = [cells * self.patch_size for cells in grid]
        images = F.interpolate(
            images.float(), size, mode="bilinear", align_corners=False, antialias=True
        )
        normalized = (images - self.network.pixel_mean) / self.network.pixel_std
        tokens = self._tokens(normalized)
        if self.part in _OF_ATTENTION:
            tokens = tokens.chunk(3, dim=-1)[_OF_ATTENTION.index(self.part)]
        # Class token and registers come first.
        cells = tokens[:, -grid[0] * grid[1] :]
        return cells.transpose(1, 2).unflatten(2, grid)

    def prepare(self, device: torch.device) -> None:
        """Reads the weights, once, and moves the network to a device.

        Args:
            device: Where the images will be.

        Raises:
            FileNotFoundError: If there are no such weights.
            ValueError: If they do not fit, or there are none at all.
        """
        if self.init_cfg is not None:
            load_pretrained_backbone(self._vit, self.init_cfg)
            self.init_cfg = None
        if self.network.pixel_mean.device != device:
            self.network.to(device)
        if not self._takes_any_size:
            self._try_another_size()
            self._takes_any_size = True

    def _try_another_size(self) -> None:
        """Refuses networks of one size of images, which would fail at the first CAM."""
        patch = self.patch_size
        images = self.network.pixel_mean.new_zeros(1, 3, 2 * patch, 3 * patch)
        try:
            self._tokens(images)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"FrozenFeatures.backbone, a {type(self._vit).__name__}, does not take "
                f"images of any size ({error}): set dynamic_img_size=True of timm's "
                "networks, or take another ViT"
            ) from error

    def _tokens(self, normalized: Tensor) -> Tensor:
        """Output (B, N, C) of the module that the hook watches."""
        try:
            self.network(normalized)
        except _Reached as reached:
            return reached.output
        raise ValueError(
            f"part={self.part!r} of FrozenFeatures: the attention of a "
            f"{type(self._vit).__name__} does not call its qkv; set part='tokens', or "
            "take a plain ViT"
        )


def frozen_sources(model: nn.Module) -> list[FrozenFeatures]:
    """The frozen networks of a model, each once.

    Nothing else of the model names them: neither ``model.modules()`` nor
    ``model.state_dict()``.
    """
    sources = (getattr(module, "source", None) for module in model.modules())
    found = {id(x): x for x in sources if isinstance(x, FrozenFeatures)}
    return list(found.values())


def _stop(module: nn.Module, inputs: tuple, output: Tensor) -> NoReturn:
    """A forward hook that ends the pass."""
    raise _Reached(output)


def _wanted_part(vit: nn.Module, block: int, part: str) -> tuple[nn.Module, int]:
    """The module whose output has the part, and the side of a patch in pixels."""
    # mmpretrain's name of the blocks, then timm's.
    blocks = getattr(vit, "layers", getattr(vit, "blocks", ()))
    if not -len(blocks) <= block < len(blocks):
        raise ValueError(
            f"block={block} of FrozenFeatures: a {type(vit).__name__} has "
            f"{len(blocks)} blocks; expected a plain ViT and one of its blocks"
        )
    watched = blocks[block]
    if part in _OF_ATTENTION:
        watched = getattr(getattr(watched, "attn", None), "qkv", None)
    embedding = getattr(vit, "patch_embed", nn.Identity())
    projections = [x for x in embedding.modules() if isinstance(x, nn.Conv2d)]
    if not isinstance(watched, nn.Module) or len(projections) != 1:
        raise ValueError(
            f"FrozenFeatures.backbone is a {type(vit).__name__} whose blocks have no "
            "attn.qkv, or whose patch_embed is no single convolution: expected a plain "
            "ViT"
        )
    return watched, projections[0].kernel_size[0]
