"""Adapter that gives a registered backbone the interface of FSR."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmengine.utils import to_2tuple
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_fsr.checkpoints.pretrained import load_pretrained_backbone

from .attention import use_fastest_attention
from .features import FSRFeatures, ImageTooSmallError, UpTo, check_mask
from .fsr_vit import use_python_drop_rates
from .token_masking import TokenMasking

Shape = tuple[int, int, int]
"""Channels C, height h and width w of a map."""


@MODELS.register_module()
class FSRBackbone(BaseModule):
    """Wraps a backbone that returns a tuple of feature maps.

    It takes any backbone of mmseg (``type='ResNet'``), of mmpretrain
    (``type='mmpretrain.ConvNeXt'``) or of timm (``type='TIMMBackbone'``). A learned
    token stands in for masked cells, and an aggregator on the final map makes the class
    token. When it is built, one pass of an image of ``img_size`` finds which maps there
    are, and how coarse.

    Args:
        backbone: Config of a registered backbone.
        aux_index: Level that is the auxiliary feature map. Defaults to -2.
        feat_index: Level that is the final feature map. Defaults to -1.
        neck: Config of a registered neck that makes the levels from the backbone's
            maps, such as mmseg's ``MultiLevelNeck``, where those are too coarse for
            CAMs. Defaults to None, the maps themselves.
        masking: What the mask token replaces: "pixels", a colour (3,) in place of
            the pixels of a masked cell, for any backbone; or "tokens", a vector in
            place of its patch embedding, before positions are added, for those whose
            ``patch_embed`` gives tokens, such as a plain ViT. Defaults to "pixels".
        aggregator: Config of the module that makes the class token from the cells
            (B, N, C) of the final map. Defaults to global average pooling.
        img_size: Size of the training images in pixels, an int or (H, W). Defaults
            to 448.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` loads weights of the
            wrapped backbone. Defaults to None.

    Attributes:
        level_shapes: Shapes (C, h, w) of the levels at ``img_size``.
        stride: Pixels per cell of the final map, whose grid the mask follows.

    Raises:
        ValueError: If the backbone does not give at least two maps, an index names
            none of them, the final map's stride is no whole number of pixels, or
            ``masking`` does not fit.

    Example:
        >>> backbone = FSRBackbone(dict(type='ResNet', depth=18), img_size=64)
        >>> backbone.level_shapes[-1], backbone.stride
        ((512, 8, 8), 8)
    """

    def __init__(
        self,
        backbone: dict,
        aux_index: int = -2,
        feat_index: int = -1,
        neck: dict | None = None,
        masking: str = "pixels",
        aggregator: dict = dict(type="AveragePoolingAggregator"),
        img_size: int | tuple[int, int] = 448,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        use_python_drop_rates(self.backbone)
        use_fastest_attention(self.backbone)
        self.neck = None if neck is None else MODELS.build(neck)
        if masking not in ("pixels", "tokens"):
            raise ValueError(f"masking={masking!r}: expected 'pixels' or 'tokens'")
        self.token_masking = None
        if masking == "tokens":
            self.token_masking = TokenMasking(self.backbone)
        self.aux_index, self.feat_index = aux_index, feat_index
        self._measure(to_2tuple(img_size))
        in_channels = self.level_shapes[feat_index][0]
        token_shape = (1, 3, 1, 1)
        if self.token_masking is not None:
            token_shape = (1, self.token_masking.channels)
        self.mask_token = nn.Parameter(torch.zeros(token_shape))
        self.aggregator = MODELS.build(
            aggregator, default_args=dict(in_channels=in_channels)
        )

    @torch.no_grad()
    def _measure(self, img_size: tuple[int, int]) -> None:
        """Finds the levels' shapes by a pass of an image."""
        device = next(self.backbone.parameters()).device
        image = torch.zeros(1, 3, *img_size, device=device)
        self.eval()
        maps = self.backbone(image)
        name = type(self.backbone).__name__
        if self.neck is not None:
            maps, name = self.neck(maps), f"{type(self.neck).__name__} after {name}"
        self.level_shapes = _map_shapes(maps, name)
        _level_of(self.level_shapes, "aux_index", self.aux_index)
        feat = _level_of(self.level_shapes, "feat_index", self.feat_index)
        self.stride = _stride_of(feat, img_size)
        if self.token_masking is not None:
            self.token_masking.check(image, feat[1:])
        self.train()

    def init_weights(self) -> None:
        """The parts' own initial weights, then those that ``init_cfg`` names."""
        # mmengine would load the weights itself, in the backbone's own layout alone.
        pretrained, self.init_cfg = self.init_cfg, None
        super().init_weights()
        self.init_cfg = pretrained
        if self.token_masking is not None:
            trunc_normal_(self.mask_token, std=0.02)
        if pretrained is not None:
            load_pretrained_backbone(self.backbone, pretrained)

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Depth of a parameter, for mmpretrain's layer-wise learning rates.

        Args:
            param_name: Its name.
            prefix: What the names of this backbone begin with. Defaults to "".

        Returns:
            The depth, 0 at the input, and the number of depths. Neck and aggregator
            are as deep as the heads.

        Raises:
            ValueError: If the wrapped backbone has no such order.
        """
        if not hasattr(self.backbone, "get_layer_depth"):
            raise ValueError(
                f"{type(self.backbone).__name__} has no get_layer_depth: layer-wise "
                "learning rates need one of mmpretrain's backbones that do"
            )
        inner = f"{prefix}backbone."
        depth, num_depths = self.backbone.get_layer_depth(param_name, inner)
        # mmpretrain's have no place for CLIP's norm before the blocks.
        if param_name.startswith((f"{prefix}mask_token", f"{inner}pre_norm.")):
            depth = 0
        return depth, num_depths

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Size of the grid (h, w) of an image of that size in pixels.

        Raises:
            ValueError: If the stride does not divide the image.
        """
        if height % self.stride or width % self.stride:
            raise ValueError(
                f"image of {height} x {width} pixels: expected multiples of the "
                f"stride {self.stride}; resize or crop the images so"
            )
        return height // self.stride, width // self.stride

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        up_to: UpTo = "cls_token",
    ) -> FSRFeatures:
        """Features of a batch of images.

        Args:
            x: Images (B, 3, H, W), normalised.
            mask: Masked cells (B, h, w), bool, true = masked. Defaults to None.
            up_to: The last feature that is wanted. The wrapped backbone gives all
                maps at once. Defaults to "cls_token".

        Returns:
            The auxiliary map, the final map, the class token and all maps.

        Raises:
            ImageTooSmallError: If the wrapped backbone's convolutions need a larger
                image.
            ValueError: If the mask does not have the size of the grid.
        """
        if mask is not None:
            check_mask(mask, x, self.grid_size(*x.shape[-2:]))
        if self.token_masking is not None:
            # Also without a mask: a pass that failed may have left one behind.
            self.token_masking.set(mask, self.mask_token)
        elif mask is not None:
            pixels = F.interpolate(mask.unsqueeze(1).to(x), size=x.shape[-2:])
            x = torch.where(pixels > 0, self.mask_token.to(x.dtype), x)
        if _is_half_precision(x):
            # Convolutions of half precision are faster so, on CPUs and on GPUs.
            x = x.contiguous(memory_format=torch.channels_last)
        maps = self._maps(x)
        if self.token_masking is not None:
            self.token_masking.clear()
        levels = tuple(maps if self.neck is None else self.neck(maps))
        aux, feat = levels[self.aux_index], levels[self.feat_index]
        if up_to == "aux":
            return FSRFeatures(aux)
        cls_token = None
        if up_to == "cls_token":
            cls_token = self.aggregator(feat.flatten(2).mT)
        return FSRFeatures(aux, feat, cls_token, levels)

    def _maps(self, x: Tensor) -> Sequence[Tensor]:
        """The wrapped backbone's maps of images, whose size torch alone checks."""
        try:
            return self.backbone(x)
        except RuntimeError as error:
            if "Kernel size can't be greater" not in str(error):
                raise
            height, width = x.shape[-2:]
            raise ImageTooSmallError(
                f"image of {height} x {width} pixels is too small for "
                f"{type(self.backbone).__name__}: resize the images"
            ) from error


def _is_half_precision(x: Tensor) -> bool:
    """Whether autocast is on for the tensor's device, if it has autocast at all."""
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def _map_shapes(maps: Sequence[Tensor], backbone: str) -> list[Shape]:
    """Shapes (C, h, w) of the maps that a backbone returned; two or more are needed."""
    maps = list(maps) if isinstance(maps, Sequence) else [maps]
    shapes = [tuple(x.shape) if isinstance(x, Tensor) else type(x) for x in maps]
    if len(maps) < 2 or any(not isinstance(x, Tensor) or x.ndim != 4 for x in maps):
        raise ValueError(
            f"{backbone} gives {len(maps)} output(s) of shape {shapes}: expected two "
            "or more maps (B, C, h, w), the auxiliary and the final one among them; "
            "set its out_indices, and out_type='featmap' where it has that"
        )
    return [tuple(x.shape[1:]) for x in maps]


def _level_of(shapes: Sequence[Shape], setting: str, index: int) -> Shape:
    """Shape of the level at an index, which is the value of a setting."""
    if not -len(shapes) <= index < len(shapes):
        raise ValueError(
            f"{setting}={index}: the backbone gives {len(shapes)} levels, of shapes "
            f"{list(shapes)}; expected {-len(shapes)}..{len(shapes) - 1}"
        )
    return shapes[index]


def _stride_of(shape: Shape, img_size: tuple[int, int]) -> int:
    """Pixels per cell of a map of an image of ``img_size`` (H, W)."""
    (height, width), (rows, cols) = img_size, shape[1:]
    stride = height // max(rows, 1)
    if (height, width) != (rows * stride, cols * stride):
        raise ValueError(
            f"the final map of an image of {height} x {width} pixels has shape (C, h, "
            f"w) = {shape}: expected square cells of whole pixels; set img_size, and "
            "the crop size of the training pipeline, to multiples of the backbone's "
            "stride (maps whose channels come last are not supported)"
        )
    return stride
