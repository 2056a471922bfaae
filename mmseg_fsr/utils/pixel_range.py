"""Which values of pictures deeper than 8 bits become black and white."""

import logging
from collections.abc import Sequence

import numpy as np
from mmengine.logging import print_log

# The two numbers of a fixed range, or two percentiles of each image as text.
PixelRange = Sequence[float] | Sequence[str]


def check_pixel_range(pixel_range: object) -> None:
    """Refuses what is no range of pixel values.

    Args:
        pixel_range: Two numbers, such as ``(0, 4095)``, or two percentiles of each
            image, such as ``('1%', '99%')``; None, for pictures of 8 bits, is right.

    Raises:
        ValueError: If it is anything else, or the first is not below the second.
    """
    if pixel_range is None:
        return
    try:
        low, high = _numbers(pixel_range)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not -np.inf < low < high < np.inf:
        raise ValueError(
            f"pixel_range={pixel_range!r}: expected the value that becomes black and a "
            "larger one that becomes white, such as (0, 4095), or two percentiles of "
            "each image from 0% to 100%, such as ('1%', '99%')"
        )


def scale_to_8bit(
    values: np.ndarray, pixel_range: PixelRange | None, title: str
) -> np.ndarray:
    """Maps a range of values linearly to 0..255.

    Args:
        values: Pixels of any number and any real type. Those out of the range become 0
            or 255, those that are no number 0.
        pixel_range: As for :func:`check_pixel_range`. Percentiles are of all finite
            values together; of a picture of one value alone all pixels become 0.
        title: What to call the picture in an error.

    Returns:
        uint8, of the shape of ``values``.

    Raises:
        ValueError: If there is no range, or no finite value.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise ValueError(f"{title} has no pixel whose value is a number")
    if pixel_range is None:
        lowest, highest = finite.min(), finite.max()
        raise ValueError(
            f"{title} has {values.dtype} pixels from {lowest:.6g} to {highest:.6g}, not"
            " 8 bits: say which values become black and white, as pixel_range=(0, 4095)"
            " or, by percentiles of each image, pixel_range=('1%', '99%'), in the data"
            " set's metainfo=dict(classes=..., pixel_range=...), or, without a data"
            " set, in ScaleTo8Bit of the pipeline (docs/own_data.md)"
        )
    check_pixel_range(pixel_range)
    low, high = _numbers(pixel_range)
    if isinstance(pixel_range[0], str):
        low, high = np.percentile(finite, [low, high])
    # Where all values are equal, percentiles are too.
    width = high - low or 1.0
    shares = (np.nan_to_num(values.astype(np.float64), nan=low) - low) / width
    return np.round(shares.clip(0, 1) * 255).astype(np.uint8)


def compare_ranges(
    ours: PixelRange | None, theirs: PixelRange | None, of_ours: str, of_theirs: str
) -> None:
    """Warns if deep images of two data sets are scaled in different ways.

    Args:
        ours: A ``pixel_range``, or None if all pictures have 8 bits.
        theirs: The other one.
        of_ours: Whose the first is, for the warning.
        of_theirs: Whose the second is.
    """
    if ours is None or theirs is None or tuple(ours) == tuple(theirs):
        return
    print_log(
        f"pixel_range is {tuple(ours)} in {of_ours}, but {tuple(theirs)} in "
        f"{of_theirs}: the network would see images of another brightness, unless the "
        "files differ as the ranges do",
        "current",
        logging.WARNING,
    )


def _numbers(pixel_range: PixelRange) -> tuple[float, float]:
    """The two numbers of a range, or those before its two per cent signs."""
    low, high = pixel_range
    if isinstance(low, str) and isinstance(high, str):
        low, high = (float(percent.removesuffix("%")) for percent in pixel_range)
        if not all(percent.endswith("%") for percent in pixel_range):
            raise ValueError("percentiles end with a per cent sign")
        if low < 0 or high > 100:
            raise ValueError("percentiles are from 0 to 100")
        return low, high
    if isinstance(low, str | bool) or isinstance(high, str | bool):
        raise TypeError("neither two numbers nor two percentiles")
    return float(low), float(high)
