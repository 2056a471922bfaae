"""Test loop that refines predictions by a dense CRF."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.runner import TestLoop
from mmengine.runner.amp import autocast
from mmengine.runner.loops import _update_losses
from mmseg.registry import LOOPS, MODELS
from mmseg.structures import SegDataSample

from .merged_logits import require_merged_logits
from .refinement_queue import RefinementQueue


@LOOPS.register_module()
class DenseCRFTestLoop(TestLoop):
    """Scores what a dense CRF makes of the predictions.

    The network goes on while the CRF works: evaluator and ``after_test_iter`` get a
    batch later than it was predicted, but in the loader's order. See
    :class:`RefinementQueue` for what changes in the samples.

    Args:
        *args: Those of mmengine's ``TestLoop``.
        crf: Config of the engine, ``DenseCRF`` or ``PyDenseCRF``. Defaults to
            ``dict(type='DenseCRF')``.
        **kwargs: Those of mmengine's ``TestLoop``.
    """

    def __init__(
        self, *args: Any, crf: dict = dict(type="DenseCRF"), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.crf = MODELS.build(crf)
        self._queue = self.refinement_queue(self._deliver)

    def refinement_queue(self, deliver: Callable[..., None]) -> RefinementQueue:
        """Makes a queue of its own for other predictions, those of a teacher for one.

        Args:
            deliver: Called with a batch's refined samples and what was put beside
                them.

        Returns:
            The queue; to be flushed before ``after_test_epoch`` ends.
        """
        return RefinementQueue(self.crf, deliver)

    def run(self) -> dict[str, float]:
        """Tests, and ends the CRF's processes whatever happens.

        Returns:
            The metrics.

        Raises:
            ValueError: If the model is mmseg's ``SegTTAModel``, whose samples keep the
                logits of one version of the image.
        """
        require_merged_logits(self.runner, "a dense CRF")
        try:
            return super().run()
        finally:
            self.crf.close()

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Predicts a batch and puts it into the queue; the last one empties that.

        Args:
            idx: Place of the batch, from 0.
            data_batch: The loader's batch.
        """
        self.runner.call_hook("before_test_iter", batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            samples = self.runner.model.test_step(data_batch)
        samples, self.test_loss = _update_losses(samples, self.test_loss)
        self._queue.put(samples, idx, data_batch)
        if idx + 1 == len(self.dataloader):
            self._queue.flush()

    def _deliver(
        self, samples: Sequence[SegDataSample], idx: int, data_batch: dict
    ) -> None:
        self.evaluator.process(data_samples=samples, data_batch=data_batch)
        self.runner.call_hook(
            "after_test_iter", batch_idx=idx, data_batch=data_batch, outputs=samples
        )
