"""Hook that seeds every step, so that a resumed run repeats an unbroken one."""

import itertools

from mmengine.dist import broadcast_object_list, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_fsr.datasets.seeded_infinite_sampler import SeededInfiniteSampler
from mmseg_fsr.utils.random_state import seed_all


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Makes the random numbers of a step depend on seed, step and rank alone.

    A resumed run then draws the same masks and drop paths as an unbroken run. No random
    state is saved in the checkpoint, and random numbers drawn between steps change
    nothing. With a :class:`~mmseg_fsr.datasets.SeededInfiniteSampler` this also holds
    for the order and the augmentation of the images: a resumed run continues with the
    next image and reads none twice.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Runner) -> None:
        """Takes the seed of the run; a resumed run has that of its checkpoint."""
        # Ranks may have seeds of their own (`diff_rank_seed`): the first one's counts.
        seeds = [runner.seed]
        broadcast_object_list(seeds)
        (self._seed,) = seeds
        loop = runner.train_loop
        sampler = loop.dataloader.sampler
        if not isinstance(sampler, SeededInfiniteSampler):
            return
        sampler.seed = self._seed
        if not hasattr(loop.dataloader_iterator, "skip_iter"):
            # mmengine up to 0.10.7 would load the images of all done steps to skip
            # them. It gets None for these steps, and the sampler skips the images.
            sampler.skip(runner.iter * loop.dataloader.batch_size)
            loop.dataloader_iterator = itertools.chain(
                itertools.repeat(None, runner.iter), loop.dataloader
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seeds Python, NumPy and torch."""
        seed_all(self._seed, get_rank(), runner.iter)
