"""Hook that paints predictions on the images as the network saw them."""

import os.path as osp
from collections.abc import Sequence

from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from mmseg_fsr.datasets.image_file import read_image


@HOOKS.register_module()
class ScaledVisualizationHook(SegVisualizationHook):
    """mmseg's ``SegVisualizationHook``, which reads images as the pipelines do.

    mmseg's reads them by OpenCV, which shows pictures deeper than 8 bits in the range
    of their type, nearly black, or not at all. This one scales them by ``pixel_range``
    of the data set's ``metainfo``. Arguments are those of ``SegVisualizationHook``.
    """

    # mmseg's own counter is not in all its versions.
    _num_tested = 0

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict,
        outputs: Sequence[SegDataSample],
    ) -> None:
        """Paints the first image of every ``interval``-th batch."""
        step = runner.iter + batch_idx
        if self.draw and step % self.interval == 0:
            self._paint("val", outputs[0], step)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict,
        outputs: Sequence[SegDataSample],
    ) -> None:
        """Paints every image."""
        if not self.draw:
            return
        for sample in outputs:
            self._num_tested += 1
            self._paint("test", sample, self._num_tested)

    def _paint(self, split: str, sample: SegDataSample, step: int) -> None:
        """Hands an image and its prediction to the visualizer."""
        path = sample.img_path
        pixel_range = (self._visualizer.dataset_meta or {}).get("pixel_range")
        self._visualizer.add_datasample(
            f"{split}_{osp.basename(path)}",
            read_image(path, pixel_range),
            data_sample=sample,
            show=self.show,
            wait_time=self.wait_time,
            step=step,
        )
