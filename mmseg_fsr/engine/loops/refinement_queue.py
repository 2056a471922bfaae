"""Batches that wait, in order, for their images to be refined."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.models.postprocessing import BaseDenseCRF


def submit_sample(crf: BaseDenseCRF, sample: SegDataSample) -> Future[Tensor]:
    """Hands the softmax of a sample's logits to the CRF, with the image as on disk.

    Args:
        crf: The engine.
        sample: With ``seg_logits`` (C, H, W), ``pred_sem_seg`` (1, H, W) and
            ``img_path``.

    Returns:
        Future of the refined probabilities (C, H, W).

    Raises:
        ValueError: If the sample has no path, or its logits are of one class, of
            another size than the image or not those of ``pred_sem_seg``.
    """
    path = sample.get("img_path")
    if path is None:
        raise ValueError(
            "a dense CRF needs the image's file, but the sample has no img_path: name"
            " it in the meta_keys of PackSegInputs in the config's test_pipeline"
        )
    logits = sample.seg_logits.data
    if len(logits) < 2:
        raise ValueError(
            f"{path}: a dense CRF needs two or more classes, but seg_logits has the"
            f" shape {tuple(logits.shape)}: set out_channels of the decode_head"
        )
    if not torch.equal(logits.argmax(dim=0), sample.pred_sem_seg.data.squeeze(0)):
        raise ValueError(
            f"{path}: pred_sem_seg was not made of seg_logits, so a dense CRF would"
            " refine something else (mmseg's SegTTAModel keeps the logits of one"
            " version: set tta_model.type='FSRTTAModel')"
        )
    pixels = read_image(path).transpose(2, 0, 1)
    image = torch.from_numpy(np.ascontiguousarray(pixels))
    if image.shape[1:] != logits.shape[1:]:
        (height, width), (rows, columns) = image.shape[1:], logits.shape[1:]
        raise ValueError(
            f"{path}: the image has {height} x {width} pixels, but seg_logits"
            f" {rows} x {columns}; a dense CRF needs logits at the image's own size,"
            " which mmseg's segmentors give where ori_shape is the file's"
        )
    return crf.submit(image, logits.float().softmax(dim=0))


class RefinementQueue:
    """Batches on their way through a dense CRF, given on in the order they came.

    A refined sample's ``seg_logits`` are logarithms of probabilities, so that their
    softmax is the CRF's result, and ``pred_sem_seg`` is their class.

    Args:
        crf: The engine. No more images are pending than it needs to be busy.
        deliver: Called with a batch's refined samples and what was put beside them.
    """

    def __init__(self, crf: BaseDenseCRF, deliver: Callable[..., None]) -> None:
        self._crf = crf
        self._deliver = deliver
        self._pending: deque[tuple[list, Sequence[SegDataSample], tuple]] = deque()

    def put(self, samples: Sequence[SegDataSample], *context: Any) -> None:
        """Takes a batch, and gives on those that are done or have to be.

        Args:
            samples: Predictions of a batch.
            *context: What to give on with them.

        Raises:
            ValueError: If a sample cannot be refined; see :func:`submit_sample`.
        """
        futures = [submit_sample(self._crf, sample) for sample in samples]
        self._pending.append((futures, samples, context))
        images = sum(len(futures) for futures, _, _ in self._pending)
        while self._pending and (
            images > self._crf.max_pending
            or all(future.done() for future in self._pending[0][0])
        ):
            images -= self._give_on()

    def flush(self) -> None:
        """Waits for what is pending, and gives it on."""
        while self._pending:
            self._give_on()

    def _give_on(self) -> int:
        futures, samples, context = self._pending.popleft()
        for future, sample in zip(futures, samples, strict=True):
            probs = future.result()
            # 0 has no logarithm
            logits = probs.clamp(min=torch.finfo(probs.dtype).tiny).log()
            sample.seg_logits = PixelData(data=logits)
            sample.pred_sem_seg = PixelData(data=probs.argmax(dim=0, keepdim=True))
        self._deliver(samples, *context)
        return len(futures)
