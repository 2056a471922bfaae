"""What an FSR backbone returns."""

from typing import Literal, NamedTuple

from torch import Tensor

Depth = Literal["aux", "feat", "cls_token"]
"""How far a backbone computes: each name includes those before it."""


class FSRFeatures(NamedTuple):
    """Features of a batch.

    ``WeakSegmentor`` gives its decode head the levels. In a segmentor of mmseg's, whose
    heads index the tuple itself, the final map is at ``in_index=1``.

    Attributes:
        aux: Auxiliary feature map (B, C_aux, h_aux, w_aux), for the auxiliary
            classifier.
        feat: Final feature map (B, C, h, w), or of the first images of the batch
            alone, as asked for; None where not asked for.
        cls_token: Aggregated class token (B, C); None where not asked for.
        levels: All maps of the backbone, ``aux`` and ``feat`` among them, for decode
            heads to choose from by ``in_index``; empty where ``feat`` was not asked
            for.
    """

    aux: Tensor
    feat: Tensor | None = None
    cls_token: Tensor | None = None
    levels: tuple[Tensor, ...] = ()

    def chunk(self, chunks: int) -> tuple["FSRFeatures", ...]:
        """Splits the batch into equal parts, one for each view."""
        levels = zip(*(level.chunk(chunks) for level in self.levels), strict=True)
        parts = (
            (None,) * chunks if field is None else field.chunk(chunks)
            for field in self[:3]
        )
        return tuple(FSRFeatures(*part) for part in zip(*parts, levels, strict=True))
