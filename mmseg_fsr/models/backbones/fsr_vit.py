"""Vision transformer with mask token and a class token that joins late."""

import math
from collections.abc import Sequence

import torch
from mmcv.cnn.bricks.drop import DropPath
from mmengine.model.weight_init import trunc_normal_
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmseg_fsr.checkpoints.pretrained import load_pretrained_backbone

from .attention import use_fastest_attention
from .features import FSRFeatures, ImageTooSmallError, UpTo, check_mask


def use_python_drop_rates(backbone: nn.Module) -> None:
    """Turns the drop path rates of a backbone into Python's floats.

    mmpretrain's are NumPy's, which break torch.compile's graph at each block.

    Args:
        backbone: Module whose drop paths are changed.
    """
    for module in backbone.modules():
        if isinstance(module, DropPath):
            module.drop_prob = float(module.drop_prob)


@MODELS.register_module()
class FSRViT(VisionTransformer):
    """Plain ViT whose blocks see patch tokens alone.

    A learned mask token replaces the embedding of a masked patch before the
    position embedding is added. The class token does not pass through the blocks:
    an aggregator makes it from the patch tokens of the last block (FSR, AAAI 2024,
    section "Method"; class attention after CaiT, ICCV 2021).

    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` takes weights in timm's or
    mmpretrain's layout, see
    :func:`mmseg_fsr.checkpoints.pretrained.load_pretrained_backbone`.

    Args:
        arch: Name or dict of mmpretrain's ``VisionTransformer``. Defaults to "base".
        img_size: Image size in pixels whose patch grid the position embedding
            holds; other sizes resize it (bicubic). Defaults to 224.
        patch_size: Side of a patch in pixels. Defaults to 16.
        out_indices: Blocks that give feature maps, in order: the last but one gives
            the auxiliary map, the last one, which must be the last block, the final
            map. Earlier ones are for decode heads of several levels. Defaults to
            (-3, -1).
        aggregator: Config of the module that makes the class token from the patch
            tokens (B, N, C). Defaults to class attention of depth 2.
        with_cp: Whether the backward pass computes the blocks again instead of keeping
            what they computed, which saves memory. Defaults to False.
        **kwargs: Passed on to mmpretrain's ``VisionTransformer``
            (``drop_path_rate``, ``layer_scale_init_value``, ``frozen_stages``,
            ``init_cfg`` and so on).

    Raises:
        ValueError: If ``out_indices`` are not earlier blocks and the last one.

    Example:
        >>> vit = FSRViT(arch='deit-tiny', img_size=64)
        >>> features = vit(torch.rand(2, 3, 64, 64))
        >>> features.feat.shape, features.cls_token.shape
        (torch.Size([2, 192, 4, 4]), torch.Size([2, 192]))
    """

    # Where the auxiliary and the final map are among the levels.
    aux_index, feat_index = -2, -1

    def __init__(
        self,
        arch: str | dict = "base",
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        out_indices: Sequence[int] = (-3, -1),
        aggregator: dict = dict(type="ClassAttentionAggregator", depth=2),
        with_cp: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            with_cls_token=False,
            out_type="featmap",
            # A trailing strip smaller than a patch is cut, not padded.
            patch_cfg=dict(padding=0),
            **kwargs,
        )
        last = self.num_layers - 1
        self.out_indices = [i if i >= 0 else self.num_layers + i for i in out_indices]
        ascending = sorted(set(self.out_indices)) == self.out_indices
        if (
            len(out_indices) < 2
            or not ascending
            or self.out_indices[0] < 0
            or self.out_indices[-1] != last
        ):
            raise ValueError(
                f"out_indices={tuple(out_indices)} of a ViT with {self.num_layers} "
                "blocks: expected (..., auxiliary, final), blocks in order of which "
                "the final one is the last, such as (-3, -1)"
            )
        use_python_drop_rates(self)
        use_fastest_attention(self)
        self.patch_size = self.stride = patch_size
        self.with_cp = with_cp
        self.mask_token = nn.Parameter(torch.zeros(1, self.embed_dims))
        self.aggregator = MODELS.build(
            aggregator, default_args=dict(in_channels=self.embed_dims)
        )

    def init_weights(self) -> None:
        """Truncated normal of 0.02, then the weights that ``init_cfg`` names."""
        # mmengine would load the weights itself, in the backbone's own layout alone.
        pretrained, self.init_cfg = self.init_cfg, None
        super().init_weights()
        self.init_cfg = pretrained
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        trunc_normal_(self.mask_token, std=0.02)
        if pretrained is not None:
            load_pretrained_backbone(self, pretrained)

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, *args, **kwargs):
        """Drops the class token's position, then resizes to this model's grid."""
        name = f"{prefix}pos_embed"
        if name in state_dict:
            length = state_dict[name].shape[1]
            square = math.isqrt(length - 1) ** 2 == length - 1
            # This model's own oblong grid may have one more position than a square.
            if square and length != self.pos_embed.shape[1]:
                state_dict[name] = state_dict[name][:, 1:]
        super()._prepare_pos_embed(state_dict, prefix, *args, **kwargs)

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Depth of a parameter, for mmpretrain's layer-wise learning rates.

        Args:
            param_name: Its name.
            prefix: What the names of this backbone begin with. Defaults to "".

        Returns:
            The depth, 0 at the input, and the number of depths.
        """
        depth, num_depths = super().get_layer_depth(param_name, prefix)
        # mmpretrain's has no place for these, which come before the blocks.
        if param_name.startswith((f"{prefix}mask_token", f"{prefix}pre_norm.")):
            depth = 0
        return depth, num_depths

    @property
    def level_shapes(self) -> list[tuple[int, int, int]]:
        """Shapes (C, h, w) of the levels at ``img_size``."""
        return [(self.embed_dims, *self.patch_resolution)] * len(self.out_indices)

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Size of the patch grid (h, w) of an image of that size in pixels.

        Raises:
            ImageTooSmallError: If the image is smaller than a patch.
        """
        if min(height, width) < self.patch_size:
            raise ImageTooSmallError(
                f"image of {height} x {width} pixels is smaller than a patch of "
                f"{self.patch_size}: resize the images or use a smaller patch_size"
            )
        return height // self.patch_size, width // self.patch_size

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        up_to: UpTo = "cls_token",
    ) -> FSRFeatures:
        """Features of a batch of images.

        Args:
            x: Images (B, 3, H, W), normalised.
            mask: Masked patches (B, h, w), bool, true = masked. Defaults to None.
            up_to: The last feature that is wanted; later ones are not computed.
                Defaults to "cls_token".

        Returns:
            The auxiliary map, the final map and the class token; the last two are
            normalised by the final LayerNorm.

        Raises:
            ImageTooSmallError: If the image is smaller than a patch.
            ValueError: If the mask does not have the size of the patch grid.
        """
        grid = self.grid_size(*x.shape[-2:])
        tokens, _ = self.patch_embed(x)
        if mask is not None:
            check_mask(mask, x, grid)
            masked = mask.flatten(1).unsqueeze(-1)
            tokens = torch.where(masked, self.mask_token.to(tokens.dtype), tokens)
        tokens = tokens + resize_pos_embed(
            self.pos_embed,
            self.patch_resolution,
            grid,
            mode=self.interpolate_mode,
            num_extra_tokens=0,
        )
        tokens = self.pre_norm(self.drop_after_pos(tokens))

        levels, done = [], 0
        for index in self.out_indices[:-1]:
            tokens = self._run_layers(tokens, slice(done, index + 1))
            levels.append(self._format_output(tokens, grid))
            done = index + 1
        aux = levels[-1]
        if up_to == "aux":
            return FSRFeatures(aux)
        tokens = self._run_layers(tokens, slice(done, None))
        norm = self.ln1 if self.final_norm else nn.Identity()
        feat = self._format_output(norm(tokens), grid)
        cls_token = norm(self.aggregator(tokens)) if up_to == "cls_token" else None
        return FSRFeatures(aux, feat, cls_token, (*levels, feat))

    def _run_layers(self, tokens: Tensor, which: slice) -> Tensor:
        """Tokens (B, N, C) after some of the blocks."""
        for layer in list(self.layers)[which]:
            # Without gradient there is nothing to compute again.
            if self.with_cp and tokens.requires_grad:
                tokens = checkpoint(layer, tokens, use_reentrant=False)
            else:
                tokens = layer(tokens)
        return tokens
