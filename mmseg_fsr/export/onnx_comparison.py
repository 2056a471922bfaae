"""What ONNX Runtime makes of an exported graph, held against the model in PyTorch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from mmengine.dataset import Compose
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample

from mmseg_fsr.apis.inference import inference_pipeline
from mmseg_fsr.datasets.image_file import read_image

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MIN_EQUAL = 0.999


class GraphRunError(ValueError):
    """An exported graph does not run on a picture."""


class Comparison(NamedTuple):
    """One pass of pictures through both.

    Attributes:
        picture: Name of the picture.
        pictures: How many the batch had: the picture, and then its mirror image.
        size: Height and width in pixels.
        equal: Share of pixels of equal labels, 0..1.
        labels: How many classes PyTorch's labels show.
        torch_seconds: PyTorch's time for a picture.
        onnx_seconds: ONNX Runtime's time for a picture.
    """

    picture: str
    pictures: int
    size: tuple[int, int]
    equal: float
    labels: int
    torch_seconds: float
    onnx_seconds: float


@torch.no_grad()
def torch_labels(model: EncoderDecoder, images: np.ndarray) -> np.ndarray:
    """Labels of whole pictures by the model's own preprocessing and inference.

    Args:
        model: The segmentor, in evaluation mode.
        images: Pictures (N, H, W, 3), RGB, uint8.

    Returns:
        Labels (N, H, W), int64.
    """
    size = images.shape[1:3]
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
    data = dict(
        inputs=[torch.from_numpy(x[..., ::-1].copy()).permute(2, 0, 1) for x in images],
        data_samples=[SegDataSample(metainfo=meta) for _ in images],
    )
    batch = model.data_preprocessor(data, False)
    metas = [sample.metainfo for sample in batch["data_samples"]]
    logits = model.whole_inference(batch["inputs"], metas)
    return logits.argmax(1).cpu().numpy()


def onnx_labels(session: InferenceSession, images: np.ndarray) -> np.ndarray:
    """Labels of pictures by an exported graph of either output.

    Args:
        session: ONNX Runtime's session.
        images: Pictures (N, H, W, 3), RGB, uint8.

    Returns:
        Labels (N, H, W), integer.
    """
    (output,) = session.run(None, dict(image=images))
    return output.argmax(1) if output.ndim == 4 else output


def compare(
    session: InferenceSession, model: EncoderDecoder, images: np.ndarray, picture: str
) -> Comparison:
    """Passes pictures through both.

    Args:
        session: ONNX Runtime's session.
        model: The segmentor, in evaluation mode.
        images: Pictures (N, H, W, 3), RGB, uint8.
        picture: What to call them.

    Returns:
        How far they agree, and how long they took.
    """
    times = [time.perf_counter()]
    expected = torch_labels(model, images)
    times.append(time.perf_counter())
    found = onnx_labels(session, images)
    times.append(time.perf_counter())
    torch_seconds, onnx_seconds = np.diff(times) / len(images)
    return Comparison(
        picture,
        len(images),
        images.shape[1:3],
        # Of another shape, none is equal.
        float(np.mean(found == expected)) if found.shape == expected.shape else 0.0,
        len(np.unique(expected)),
        torch_seconds,
        onnx_seconds,
    )


def compare_pictures(
    session: InferenceSession,
    model: EncoderDecoder,
    paths: Sequence[str | Path],
    size: tuple[int, int] | None = None,
) -> list[Comparison]:
    """Compares both on pictures, at the sizes at which they are to be used.

    Args:
        session: ONNX Runtime's session.
        model: What ``init_model`` gives.
        paths: Files of pictures.
        size: Height and width of a graph of one size. Defaults to None: each picture is
            taken at the size of the config's test pipeline, and at another one, of
            other sides and no whole number of patches.

    Returns:
        One comparison a picture and size, the last of a batch of two.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is no picture.
        GraphRunError: If the graph does not run.
    """
    found = []
    for name, images in _batches(model, paths, size):
        try:
            if not found:
                # The first pass of each takes longer.
                compare(session, model, images, name)
            found.append(compare(session, model, images, name))
        # ONNX Runtime's errors have no common class.
        except Exception as error:
            height, width = images.shape[1:3]
            raise GraphRunError(
                f"{name} at {height} x {width}, {len(images)} at a time, cannot be "
                f"segmented ({str(error).strip().splitlines()[-1]})"
            ) from error
    return found


def _batches(
    model: EncoderDecoder,
    paths: Sequence[str | Path],
    size: tuple[int, int] | None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Pictures (N, H, W, 3) by name, as :func:`compare_pictures` takes them."""
    pixel_range = getattr(model, "dataset_meta", {}).get("pixel_range")
    for path in paths:
        source = "the pictures to compare on, and name others by --images"
        picture = read_image(path, pixel_range, source)
        for height, width in [size] if size else _free_sizes(model, picture):
            images = cv2.resize(picture, (width, height))[None]
            yield Path(path).name, images
    yield Path(path).name, np.concatenate([images, images[:, :, ::-1]])


def _free_sizes(model: EncoderDecoder, picture: np.ndarray) -> list[tuple[int, int]]:
    """Height and width that the test pipeline makes of a picture, and others."""
    steps = inference_pipeline(model.cfg)
    resize = [step for step in steps if step["type"] == "Resize"]
    results = Compose(resize)(dict(img=picture, img_shape=picture.shape[:2]))
    height, width = results["img"].shape[:2]
    return [(height, width), (height * 3 // 4 + 1, width * 5 // 4 + 3)]
