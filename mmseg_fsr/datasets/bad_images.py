"""The images of a data set that could not be read."""

from typing import Any

import torch


class TooManyBadImagesError(RuntimeError):
    """More images cannot be read than a data set may leave out."""


class BadImages:
    """Remembers which of ``num_images`` were bad, for all workers of a data loader.

    Each image has a flag in memory that processes share. A forked process, and a
    spawned one that gets this object as an argument, sees what the others add. Any
    other copy, by ``copy.deepcopy`` or ``pickle``, counts for itself.

    No lock guards the flags, because a worker that is killed would keep it. If two
    workers add the same image within microseconds, both may be told that it is new; it
    still counts once.
    """

    def __init__(self, num_images: int) -> None:
        flags = torch.zeros(num_images, dtype=torch.bool, device="cpu")
        self._flags = flags.share_memory_()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # For other copies than a spawned worker's, whose flags are shared already.
        self._flags.share_memory_()

    def add(self, index: int) -> bool:
        """Adds the image at a place in the data set, and says whether it was new."""
        new = not self._flags[index]
        self._flags[index] = True
        return new

    def indices(self) -> list[int]:
        """The places of the bad images in the data set, ascending."""
        return self._flags.nonzero().flatten().tolist()
