"""Evaluator that refines predictions by a dense CRF."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.registry import EVALUATOR, MODELS
from mmseg.structures import SegDataSample

from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.models.postprocessing import DenseCRF
from mmseg_fsr.utils.pixel_range import PixelRange


def refine_sample(
    crf: DenseCRF, sample: SegDataSample, pixel_range: PixelRange | None = None
) -> None:
    """Refines a prediction with its image's file, in place.

    ``seg_logits`` become the logarithms of the CRF's probabilities, whose softmax gives
    these probabilities again. ``pred_sem_seg`` becomes the most probable class.

    Args:
        crf: The CRF.
        sample: Holds ``seg_logits`` (C, H, W), ``pred_sem_seg`` (1, H, W) and
            ``img_path``.
        pixel_range: That of the data set's ``metainfo``, for images deeper than 8
            bits. Defaults to None.

    Raises:
        ValueError: If the sample has no path, or if its logits are of one class only,
            have another size than the image or do not give ``pred_sem_seg``.
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
    pixels = read_image(path, pixel_range).transpose(2, 0, 1)
    image = torch.from_numpy(np.ascontiguousarray(pixels))
    if image.shape[1:] != logits.shape[1:]:
        (height, width), (rows, columns) = image.shape[1:], logits.shape[1:]
        raise ValueError(
            f"{path}: the image has {height} x {width} pixels, but seg_logits"
            f" {rows} x {columns}; a dense CRF needs logits at the image's own size,"
            " which mmseg's segmentors give where ori_shape is the file's"
        )
    probs = crf(image[None], logits.float().softmax(dim=0)[None])[0]
    # A probability of 0 has no logarithm.
    tiny = torch.finfo(probs.dtype).tiny
    sample.seg_logits = PixelData(data=probs.clamp(min=tiny).log())
    sample.pred_sem_seg = PixelData(data=probs.argmax(dim=0, keepdim=True))


@EVALUATOR.register_module()
class DenseCRFEvaluator(Evaluator):
    """mmengine's ``Evaluator``, which first refines the predictions by a dense CRF.

    Samples are refined in place, so written label maps and later hooks get the refined
    predictions too.

    Args:
        metrics: Configs of the metrics, as for ``Evaluator``.
        crf: Config of the CRF. Defaults to ``dict(type='DenseCRF')``.

    Example:
        In a config: ``test_evaluator = dict(type='DenseCRFEvaluator',
        metrics=[dict(type='IoUMetric')], crf=dict(type='DenseCRF'))``.
    """

    def __init__(self, metrics: Any, crf: dict = dict(type="DenseCRF")) -> None:
        super().__init__(metrics)
        self.crf = MODELS.build(crf)

    def process(
        self, data_samples: Sequence[SegDataSample], data_batch: Any | None = None
    ) -> None:
        """Refines and scores a batch.

        Raises:
            ValueError: If :func:`refine_sample` cannot refine a sample.
        """
        pixel_range = (self.dataset_meta or {}).get("pixel_range")
        for sample in data_samples:
            refine_sample(self.crf, sample, pixel_range)
        super().process(data_samples, data_batch)
