"""Refines images by pydensecrf, one after another, from standard input to output.

A program: :class:`PyDenseCRF` starts it with the settings in JSON as its argument. It
imports neither torch nor the package it lies in, so many of them start at once and take
little memory. It ends when its input does.
"""

import json
import signal
import struct
import sys
from typing import IO

import numpy as np

# Classes, height and width; the image (H, W, 3) and the probabilities (C, H, W) follow.
HEADER = struct.Struct("<3q")


def refine(image: np.ndarray, probs: np.ndarray, settings: dict) -> np.ndarray:
    """Runs pydensecrf's mean field.

    Args:
        image: RGB image, uint8 (H, W, 3).
        probs: Probabilities, float32 (C, H, W).
        settings: The arguments of ``BaseDenseCRF`` and its ``min_prob``.

    Returns:
        Refined probabilities, float32 (C, H, W).
    """
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_softmax

    classes, height, width = probs.shape
    crf = DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(unary_from_softmax(probs, clip=settings["min_prob"]))
    crf.addPairwiseGaussian(sxy=settings["pos_xy_std"], compat=settings["pos_weight"])
    crf.addPairwiseBilateral(
        sxy=settings["bi_xy_std"],
        srgb=settings["bi_rgb_std"],
        rgbim=image,
        compat=settings["bi_weight"],
    )
    refined = np.asarray(crf.inference(settings["num_iters"]), dtype=np.float32)
    return np.ascontiguousarray(refined).reshape(probs.shape)


def read_array(stream: IO[bytes], shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Reads an array of known shape and dtype.

    Args:
        stream: What to read from.
        shape: Its shape.
        dtype: Its dtype.

    Returns:
        The array.

    Raises:
        EOFError: If the stream ends before.
    """
    array = np.empty(shape, dtype)
    if stream.readinto(memoryview(array).cast("B")) != array.nbytes:
        raise EOFError("the input ended within an image")
    return array


def main() -> None:
    """Answers every image until the input ends."""
    # Ctrl-C is the starting process's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = json.loads(sys.argv[1])
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while header := source.read(HEADER.size):
        classes, height, width = HEADER.unpack(header)
        image = read_array(source, (height, width, 3), np.uint8)
        probs = read_array(source, (classes, height, width), np.float32)
        target.write(refine(image, probs, settings).data)
        target.flush()


if __name__ == "__main__":
    main()
