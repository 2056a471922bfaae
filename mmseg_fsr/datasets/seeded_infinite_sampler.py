"""A data order whose samples carry the seed of their augmentation."""

import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence, Sized
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmseg.registry import DATA_SAMPLERS

from mmseg_fsr.utils.random_state import kept_random_state, seed_all


class SeededIndex(int):
    """Index of a data set's item that knows its place in the data order.

    Attributes:
        keys: What the item's random numbers depend on: the seed of the data order and
            the place in it, counted over all ranks.
    """

    keys: tuple[int, int]

    def __new__(cls, index: int, keys: tuple[int, int]) -> "SeededIndex":
        """Makes the index of item ``index``."""
        self = super().__new__(cls, index)
        self.keys = keys
        return self

    def __getnewargs__(self) -> tuple[int, tuple[int, int]]:
        """Arguments of a copy, in another process too."""
        return int(self), self.keys


@contextlib.contextmanager
def seeded_by(index: int) -> Iterator[None]:
    """Makes random numbers inside depend on the place in the data order alone.

    Afterwards they go on as if none had been drawn.

    Args:
        index: Index of an item. Nothing changes unless it is a :class:`SeededIndex`.
    """
    if not isinstance(index, SeededIndex):
        yield
        return
    with kept_random_state():
        seed_all(*index.keys)
        yield


def seeded_items(dataset: Any, indices: Sequence[int]) -> list:
    """Items of a data set, each augmented by the seed of its place in the data order.

    Args:
        dataset: The data set.
        indices: Indices of a batch, of a :class:`SeededInfiniteSampler`.
    """
    items = []
    for index in indices:
        with seeded_by(index):
            items.append(dataset[int(index)])
    return items


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler``, which also gives every sample a seed of its own.

    The augmentations of its data set then depend on the seed and the place in the
    order, not on the number of workers nor on where a run was interrupted. The n ranks
    of a run take every n-th sample, so together they see the batches of one process
    with n times the batch size. The data set may be any one, also a wrapper such as
    mmengine's ``ConcatDataset``, ``RepeatDataset`` or ``ClassBalancedDataset``: the
    sampler gives it a ``__getitems__``, which torch's data loaders call.

    In training :class:`~mmseg_fsr.engine.hooks.StepSeedHook` gives it the run's seed.
    The arguments are those of ``InfiniteSampler``.
    """

    start = 0

    def __init__(self, dataset: Sized, *args: Any, **kwargs: Any) -> None:
        super().__init__(dataset, *args, **kwargs)
        # A wrapper would pass on a plain index to the data set in it.
        dataset.__getitems__ = functools.partial(seeded_items, dataset)

    def skip(self, num_samples: int) -> None:
        """Begins after that many samples of this rank, without loading them."""
        self.start = num_samples

    def __iter__(self) -> Iterator[SeededIndex]:
        """The indices of this rank's samples, without end."""
        indices = itertools.islice(self._indices_of_rank(), self.start, None)
        place = self.rank + self.start * self.world_size
        for index in indices:
            yield SeededIndex(index, (self.seed, place))
            place += self.world_size
