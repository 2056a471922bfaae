"""Features of a pretrained ViT that nothing trains."""

from collections.abc import Iterator, Sequence
from typing import NoReturn

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_fsr.checkpoints.pretrained import load_pretrained_backbone

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
    teacher, and copies share it. Its weights are read at the first use, which
    segmentation alone does not need.

    Args:
        backbone: Config of a ViT, ``type='mmpretrain.VisionTransformer'``, or timm's by
            ``type='mmpretrain.TIMMBackbone'`` with ``dynamic_img_size=True``. Its
            ``init_cfg=dict(type='Pretrained', checkpoint=...)`` takes what that of
            :class:`~mmseg_fsr.models.backbones.FSRViT` does; None keeps the weights
            that the network is built with, such as timm's with ``pretrained=True``.
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
            ``scale_factor`` is not positive, or the network has no such block.
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
        if part not in PARTS or scale_factor <= 0:
            raise ValueError(
                f"part={part!r} and scale_factor={scale_factor} of FrozenFeatures: "
                f"expected one of {PARTS}, and a factor above 0"
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
        self.network = MODELS.build(backbone).requires_grad_(False)
        # mmpretrain's networks do not return themselves here.
        self.network.eval()
        for name, values in (("pixel_mean", mean), ("pixel_std", std)):
            values = torch.tensor(values)[:, None, None]
            self.network.register_buffer(name, values, persistent=False)
        vit = getattr(self.network, "timm_model", self.network)
        layer = _block_of(vit, block)
        watched = layer.attn.qkv if part in _OF_ATTENTION else layer
        watched.register_forward_hook(_stop)
        (projection,) = (m for m in vit.patch_embed.modules() if _is_convolution(m))
        self.patch_size: int = projection.kernel_size[0]

    def __deepcopy__(self, memo: dict) -> "FrozenFeatures":
        """Itself: a segmentor and its teacher share the network."""
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: (B, 3, H, W) float RGB in 0..255.

        Returns:
            (B, C, h, w), a cell for each patch; under autocast in its dtype.

        Raises:
            FileNotFoundError: At the first use, if there are no such weights.
            ValueError: At the first use, if the weights do not fit.
        """
        self._prepare(images.device)
        grid = [
            max(round(side * self.scale_factor / self.patch_size), 1)
            for side in images.shape[-2:]
        ]
        size = [cells * self.patch_size for cells in grid]
        images = F.interpolate(
            images.float(), size, mode="bilinear", align_corners=False, antialias=True
        )
        normalized = (images - self.network.pixel_mean) / self.network.pixel_std
        try:
            self.network(normalized)
        except _Reached as reached:
            tokens = reached.output
        if self.part in _OF_ATTENTION:
            tokens = tokens.chunk(3, dim=-1)[_OF_ATTENTION.index(self.part)]
        # Class token and registers come first.
        cells = tokens[:, -grid[0] * grid[1] :]
        return cells.transpose(1, 2).unflatten(2, grid)

    def _prepare(self, device: torch.device) -> None:
        """Reads the weights, once, and moves the network to where the images are."""
        if self.init_cfg is not None:
            load_pretrained_backbone(self.network, self.init_cfg)
            self.init_cfg = None
        if self.network.pixel_mean.device != device:
            self.network.to(device)


def frozen_networks(model: nn.Module) -> Iterator[nn.Module]:
    """The networks of the :class:`FrozenFeatures` in a model, each once.

    Nothing of the model names them: neither ``model.modules()`` nor ``state_dict``.
    """
    sources = (getattr(module, "source", None) for module in model.modules())
    frozen = {id(x): x for x in sources if isinstance(x, FrozenFeatures)}
    yield from (source.network for source in frozen.values())


def _stop(module: nn.Module, inputs: tuple, output: Tensor) -> NoReturn:
    """A forward hook that ends the pass."""
    raise _Reached(output)


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d)


def _block_of(vit: nn.Module, block: int) -> nn.Module:
    """A block of a ViT of mmpretrain, which names them layers, or of timm."""
    blocks = getattr(vit, "layers", getattr(vit, "blocks", ()))
    count = len(blocks)
    if not -count <= block < count or not hasattr(blocks[block], "attn"):
        raise ValueError(
            f"block={block} of FrozenFeatures: a {type(vit).__name__} has {count} "
            "blocks with attention; expected a plain ViT and one of its blocks"
        )
    return blocks[block]
