"""Prediction for a single image."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample

from mmseg_fsr.datasets.image_file import check_bgr
from mmseg_fsr.models.segmentors import CAMSegmentor
from mmseg_fsr.utils.nested_dicts import inner_datasets
from mmseg_fsr.utils.pipeline_steps import without_annotations
from mmseg_fsr.utils.pixel_range import PixelRange


def inference_pipeline(cfg: Config) -> list[dict]:
    """The pipeline that test images of a config go through.

    Args:
        cfg: The config; the data set of its ``test_dataloader`` may have others around
            it.

    Raises:
        ValueError: If the config has none.
    """
    dataset = inner_datasets((cfg.get("test_dataloader") or {}).get("dataset", {}))[0]
    pipeline = dataset.get("pipeline") or cfg.get("test_pipeline")
    if pipeline is None:
        raise ValueError(
            f"{cfg.filename} has neither a test_dataloader nor a test_pipeline, which "
            "says how images reach the model"
        )
    return pipeline


def prepare_image(
    image: str | Path | np.ndarray,
    pipeline: Sequence[dict],
    pixel_range: PixelRange | None = None,
) -> dict:
    """Takes an image without a mask through a pipeline.

    Args:
        image: Path of a file, or an array (H, W, 3), BGR, or grey (H, W); uint8, or
            of any real type with a ``pixel_range``.
        pipeline: Transforms of a validation or test data set; the first loads the
            image. Those that load annotations are left out.
        pixel_range: For an image deeper than 8 bits, the values that become black and
            white, see :class:`~mmseg_fsr.datasets.ScaleTo8Bit`. Defaults to None.

    Returns:
        The result of the last transform, such as ``inputs`` (3, h, w) and
        ``data_samples``.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the image is neither a path nor an array.
        ValueError: If the file cannot be decoded, the array has another shape, or the
            image is deeper than 8 bits and there is no ``pixel_range``.
    """
    load, *steps = without_annotations(pipeline)
    return Compose(steps)(load_image(image, load, pixel_range))


def load_image(
    image: str | Path | np.ndarray,
    load: dict,
    pixel_range: PixelRange | None = None,
) -> dict:
    """Loads an image as the first step of a pipeline does.

    Args:
        image: As for :func:`prepare_image`.
        load: The first step, which loads the image of a path.
        pixel_range: As for :func:`prepare_image`.

    Returns:
        What the next step takes, with the picture as ``img``.

    Raises:
        FileNotFoundError: As :func:`prepare_image`, as are the others.
        TypeError: If the image is neither a path nor an array.
        ValueError: If the image is not as expected.
    """
    if isinstance(image, str | Path):
        results = dict(img_path=str(image), pixel_range=pixel_range)
    else:
        load = dict(type="LoadImageFromNDArray")
        results = dict(img=check_bgr(image, pixel_range))
    try:
        return Compose([load])(results)
    except FileNotFoundError:
        raise
    # Pillow raises errors of many kinds.
    except Exception as error:
        raise ValueError(f"image {image} cannot be decoded ({error})") from error


def class_ids(labels: Iterable[str], model: BaseSegmentor) -> list[int]:
    """Ids 1..K of classes by name, ascending.

    Args:
        labels: Names of foreground classes, in any kind of list.
        model: The model that knows them.

    Raises:
        ValueError: If it is no list of names of the model's foreground classes.
    """
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise ValueError(f"labels={labels!r}: expected a list of names, [{labels!r}]")
    classes = model.dataset_meta["classes"][1:]
    labels = list(labels)
    unknown = [x for x in labels if not isinstance(x, str) or x not in classes]
    if unknown:
        raise ValueError(
            f"labels {unknown} are unknown to the model: expected some of "
            f"{tuple(classes)}"
        )
    return [index for index, name in enumerate(classes, 1) if name in labels]


@torch.no_grad()
def inference_cams(
    model: CAMSegmentor,
    image: str | Path | np.ndarray,
    labels: Sequence[str] | None = None,
) -> SegDataSample:
    """Predicts the segmentation, CAMs, pseudo label and class scores of an image.

    Args:
        model: What :func:`~mmseg_fsr.apis.init_model` gives.
        image: Path of a file, or an array (H, W, 3), BGR, or grey (H, W); uint8, or
            of any real type where ``model.dataset_meta`` has a ``pixel_range``.
        labels: Names of the classes in the image, whose CAMs are computed. Defaults
            to None, those that the classifier predicts.

    Returns:
        A sample of the image's size (H, W): mmseg's ``seg_logits`` and
        ``pred_sem_seg``, and what :meth:`~mmseg_fsr.models.segmentors.CAMSegmentor.
        add_cams` adds to them.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the image is neither a path nor an array.
        ValueError: If the image is not as :func:`prepare_image` expects, or ``labels``
            is no list of names of the model's foreground classes.

    Example:
        >>> model = init_model("configs/fsr/fsr_vit-b_voc.py", "fsr_vit-b_voc.pth")
        >>> sample = inference_cams(model, "photo.jpg", ["cat", "sofa"])
        >>> sample.cams.data.shape  # (20, H, W), in 0..1
    """
    multi_hot = None
    if labels is not None:
        multi_hot = torch.zeros(1, len(model.dataset_meta["classes"]) - 1)
        multi_hot[0, [index - 1 for index in class_ids(labels, model)]] = 1
        multi_hot = multi_hot.to(next(model.parameters()).device)
    pixel_range = getattr(model, "dataset_meta", {}).get("pixel_range")
    item = prepare_image(image, inference_pipeline(model.cfg), pixel_range)
    batch = model.data_preprocessor(pseudo_collate([item]), False)
    samples = model.predict(**batch)
    model.add_cams(batch["inputs"], samples, multi_hot)
    return samples[0]
