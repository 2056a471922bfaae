"""The images of a data set that could not be read."""

from typing import Any

import torch


class BadImages:
    """Remembers which images were found bad, for all workers of a data loader.

    There is one flag an image, in memory that processes share: what one of them adds,
    all see to which the object came by fork or as an argument of a spawned process.
    Any other copy, by ``copy.deepcopy`` or ``pickle``, goes on for itself.

    No lock guards the flags, as a worker that is killed would keep it. Two workers
    that add the same image within the same microseconds may both be told that it is
    new; it counts as one all the same.

    Args:
        num_images: Size of the data set.
    """

    def __init__(self, num_images: int) -> None:
        flags = torch.zeros(num_images, dtype=torch.bool, device="cpu")
        self._flags = flags.share_memory_()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A spawned worker has got them shared; a copy of another kind has not.
        self._flags.share_memory_()

    def add(self, index: int) -> bool:
        """Adds an image.

        Args:
            index: Its place in the data set.

        Returns:
            Whether it was not there yet.
        """
        new = not self._flags[index]
        self._flags[index] = True
        return new

    def indices(self) -> list[int]:
        """The places of the bad images in the data set, in ascending order."""
        return self._flags.nonzero().flatten().tolist()
