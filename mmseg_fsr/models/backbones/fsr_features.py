"""What an FSR backbone returns."""

from typing import Literal, NamedTuple

from torch import Tensor

Depth = Literal["aux", "feat", "cls_token"]
"""How far a backbone computes: each name includes those before it."""


class FSRFeatures(NamedTuple):
    """Features of a batch, indexable by any mmseg head (``in_index=1``).

    Attributes:
        aux: Auxiliary feature map (B, C_aux, h, w), for the auxiliary classifier.
        feat: Final feature map (B, C, h, w), or of the first images of the batch
            alone, as asked for; None where not asked for.
        cls_token: Aggregated class token (B, C); None where not asked for.
    """

    aux: Tensor
    feat: Tensor | None = None
    cls_token: Tensor | None = None

    def chunk(self, chunks: int) -> tuple["FSRFeatures", ...]:
        """Splits the batch into equal parts, one for each view."""
        parts = zip(*(field.chunk(chunks) for field in self), strict=True)
        return tuple(FSRFeatures(*part) for part in parts)
