"""The activation maps of the two classifiers."""

from typing import NamedTuple

import torch
from torch import Tensor


class CAMs(NamedTuple):
    """Class activation maps of one batch.

    Attributes:
        top: Maps of the classifier on the final features, (B, K, h, w) float. None if
            nobody asked for them, which saves the backbone's last blocks.
        aux: Maps of the auxiliary classifier, (B, K, h, w) float.
    """

    top: Tensor | None
    aux: Tensor

    def cat(self, other: "CAMs") -> "CAMs":
        """Appends the maps of another batch, of the same classifiers."""
        aux = torch.cat([self.aux, other.aux])
        if self.top is None or other.top is None:
            return CAMs(None, aux)
        return CAMs(torch.cat([self.top, other.top]), aux)
