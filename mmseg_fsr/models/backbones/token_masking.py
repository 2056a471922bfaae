"""Mask token in place of patch embeddings, in a backbone that knows nothing of it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenMasking:
    """Hook on a backbone's ``patch_embed`` that replaces the tokens of masked cells.

    Positions are added after the patch embedding, and a class token joins there too. So
    the mask token is the embedding of a patch, and the hook fits each ViT whose patches
    do not overlap, whatever its blocks are.

    Args:
        backbone: Module with a ``patch_embed`` inside that returns tokens (B, N, C)
            with their grid (h, w), as mmpretrain's and mmseg's do, or tokens
            (B, N, C) or (B, h, w, C) alone, as timm's do.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self._patch_embed = None
        for name, module in backbone.named_modules():
            if name.rpartition(".")[2] == "patch_embed":
                self._patch_embed = module
                break
        if self._patch_embed is None:
            raise ValueError(
                f"masking='tokens': {type(backbone).__name__} has no patch_embed whose "
                "tokens could be masked; use masking='pixels'"
            )
        self._patch_embed.register_forward_hook(self._replace)
        self.clear()

    @property
    def channels(self) -> int:
        """Width C of the tokens."""
        convs = [m for m in self._patch_embed.modules() if isinstance(m, nn.Conv2d)]
        return convs[-1].out_channels

    def set(self, mask: Tensor | None, token: Tensor) -> None:
        """Replaces tokens until :meth:`clear`.

        Args:
            mask: Masked cells (B, h, w), bool; None replaces nothing.
            token: What stands in for them (1, C).
        """
        self._mask, self._token = mask, token

    def clear(self) -> None:
        """Replaces nothing any more."""
        self._mask = self._token = None

    def check(self, image: Tensor, grid: tuple[int, int]) -> None:
        """Tries a mask of a grid on the tokens of an image (1, 3, H, W).

        Raises:
            ValueError: If it does not fit them.
        """
        mask = torch.zeros(1, *grid, dtype=torch.bool, device=image.device)
        self.set(mask, image.new_zeros(1, self.channels))
        self._patch_embed(image)
        self.clear()

    def _replace(
        self, module: nn.Module, args: tuple, output: tuple | Tensor
    ) -> tuple | Tensor:
        """The output with masked tokens (B, N, C) or (B, h, w, C) replaced."""
        if self._mask is None:
            return output
        tokens = output[0] if isinstance(output, tuple) else output
        mask = self._mask
        if isinstance(output, tuple):
            # A hierarchical backbone's tokens are finer than its final map.
            mask = F.interpolate(mask.unsqueeze(1).to(tokens), size=output[1]) > 0
        if mask[0].numel() != tokens[0, ..., 0].numel():
            raise ValueError(
                f"masking='tokens': the mask has {tuple(self._mask.shape[1:])} cells, "
                f"the patch embedding gives tokens {tuple(tokens.shape)}; use "
                "masking='pixels'"
            )
        mask = mask.reshape(*tokens.shape[:-1], 1)
        tokens = torch.where(mask, self._token.to(tokens.dtype), tokens)
        return (tokens, *output[1:]) if isinstance(output, tuple) else tokens
