"""Segmentation and CAMs of an image of one's own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample

from mmseg_fsr.models.segmentors import WeakSegmentor

from .prepare_image import prepare_image


@torch.no_grad()
def inference_cams(
    model: WeakSegmentor,
    image: str | Path | np.ndarray,
    labels: Sequence[str] | None = None,
) -> SegDataSample:
    """Predicts the segmentation, CAMs, pseudo label and class scores of an image.

    Args:
        model: What :func:`~mmseg_fsr.apis.init_model` gives.
        image: Path of a file, or an array (H, W, 3), BGR, uint8.
        labels: Names of the classes in the image, whose CAMs are wanted. Defaults
            to None, those that the classifier predicts.

    Returns:
        A sample with what :meth:`WeakSegmentor.add_cams` adds to mmseg's
        ``seg_logits`` and ``pred_sem_seg``, all of the image's size.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be decoded, ``labels`` is a single string, or a
            label is not one of the model's foreground classes.
    """
    multi_hot = None
    if isinstance(labels, str):
        raise ValueError(f"labels={labels!r}: expected a list of names, [{labels!r}]")
    if labels is not None:
        classes = model.dataset_meta["classes"][1:]
        unknown = set(labels) - set(classes)
        if unknown:
            raise ValueError(
                f"labels {sorted(unknown)} are unknown to the model: expected some of "
                f"{tuple(classes)}"
            )
        multi_hot = torch.tensor([[float(name in labels) for name in classes]])
        multi_hot = multi_hot.to(next(model.parameters()).device)
    item = prepare_image(image, model.cfg.test_pipeline)
    batch = model.data_preprocessor(pseudo_collate([item]), False)
    samples = model.predict(**batch)
    model.add_cams(batch["inputs"], samples, multi_hot)
    return samples[0]
