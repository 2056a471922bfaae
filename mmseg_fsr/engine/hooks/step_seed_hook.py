"""Hook that seeds every step, so that a run can be repeated from any of them."""

import itertools

from mmengine.dist import broadcast_object_list, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_fsr.datasets.seeded_infinite_sampler import SeededInfiniteSampler
from mmseg_fsr.utils.random_state import seed_all


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Has the random numbers of a step depend on seed, step and rank alone.

    Masks and drop path of a resumed run are then those of a run in one go, without a
    random state in the checkpoint, and whatever drew random numbers in between. With a
    :class:`~mmseg_fsr.datasets.SeededInfiniteSampler` data order and augmentation are,
    too: a resumed run takes it up where it was broken off, and reads no image twice.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Runner) -> None:
        """Takes the run's seed, that of the checkpoint if it is resumed."""
        # With `diff_rank_seed` each rank has its own.
        seeds = [runner.seed]
        broadcast_object_list(seeds)
        (self._seed,) = seeds
        loop = runner.train_loop
        sampler = loop.dataloader.sampler
        if not isinstance(sampler, SeededInfiniteSampler):
            return
        sampler.seed = self._seed
        if not hasattr(loop.dataloader_iterator, "skip_iter"):
            # Up to 0.10.7 mmengine has begun to load, and would replay the order.
            sampler.skip(runner.iter * loop.dataloader.batch_size)
            loop.dataloader_iterator = itertools.chain(
                itertools.repeat(None, runner.iter), loop.dataloader
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seeds Python, NumPy and torch."""
        seed_all(self._seed, get_rank(), runner.iter)
