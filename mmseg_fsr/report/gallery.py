"""The images that a report shows, as pictures in the page."""

import base64
import heapq
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mmseg_fsr.utils.label_ids import IGNORE_INDEX
from mmseg_fsr.visualization import IGNORED_COLOR

from .score_tables import COLUMN_TITLES


def _fitted(width: int, height: int, longest: int) -> tuple[int, int]:
    """A size of the same shape whose longer side is at most ``longest``."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _data_uri(picture: Image.Image, file_format: str, **options) -> str:
    content = io.BytesIO()
    picture.save(content, format=file_format, **options)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return f"data:image/{file_format.lower()};base64,{encoded}"


def hex_color(color: Sequence[int]) -> str:
    """A colour as CSS writes it, such as ``#e6503c``.

    Args:
        color: RGB, 0..255.

    Returns:
        Seven characters.
    """
    return "#{:02x}{:02x}{:02x}".format(*color)


def photo_uri(image: np.ndarray, longest: int) -> str:
    """A photograph as WebP.

    Args:
        image: RGB picture (H, W, 3), uint8.
        longest: Longer side at most, in pixels.

    Returns:
        Data URI.
    """
    picture = Image.fromarray(image)
    size = _fitted(*picture.size, longest)
    return _data_uri(
        picture.resize(size, Image.Resampling.LANCZOS), "WEBP", quality=80, method=4
    )


def label_uri(
    label: np.ndarray,
    palette: Sequence[Sequence[int]],
    longest: int,
    clear: int | None = None,
) -> str:
    """A label map as palette PNG, undecided pixels in light grey.

    Args:
        label: Class ids (H, W), integer, 255 where undecided or not scored.
        palette: RGB colours, 0..255, by class id.
        longest: Longer side at most, in pixels.
        clear: Class id that is transparent. Defaults to None.

    Returns:
        Data URI.
    """
    # The fewer the colours, the fewer bits a pixel has: 255 moves to the palette's end.
    ids = np.where(label == IGNORE_INDEX, len(palette), label).astype(np.uint8)
    picture = Image.fromarray(ids)
    picture = picture.resize(_fitted(*picture.size, longest), Image.Resampling.NEAREST)
    picture.putpalette(np.array([*palette, IGNORED_COLOR], np.uint8).tobytes())
    options = {} if clear is None else {"transparency": clear}
    return _data_uri(picture, "PNG", optimize=True, **options)


def cam_uri(cams: np.ndarray, palette: Sequence[Sequence[int]], longest: int) -> str:
    """CAMs as WebP: the strongest class's colour, as opaque as its CAM is high.

    Args:
        cams: CAMs of the foreground classes (K, H, W) in 0..1.
        palette: RGB colours, 0..255, of background and the K classes.
        longest: Longer side at most, in pixels.

    Returns:
        Data URI.
    """
    color = np.asarray(palette, np.uint8)[cams.argmax(0) + 1]
    strength = np.round(cams.max(0) * 255).astype(np.uint8)
    picture = Image.fromarray(np.dstack([color, strength]))
    size = _fitted(*picture.size, longest)
    return _data_uri(
        picture.resize(size, Image.Resampling.BILINEAR), "WEBP", quality=70, method=4
    )


# What can be laid over an image, in the order of the page.
LAYERS = {
    "photo": "Image",
    "cams": "CAM",
    "pseudo_label": "Pseudo label",
    "prediction": "Prediction",
    "truth": "Truth",
}


class WorstImages:
    """Keeps the images of the lowest scores, and makes pictures of those alone.

    Args:
        limit: How many to keep.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # The best of those kept lies at the top; of equal ones the later.
        self._heap: list[tuple[float, int, Any]] = []
        self._count = 0

    def add(self, score: float | None, make: Callable[[], Any]) -> None:
        """Keeps an image if it is among the worst so far.

        Args:
            score: In 0..1; None, a score unknown, comes after all others.
            make: Gives what is kept; called only if it is.
        """
        order = (-2.0 if score is None else -score, -self._count)
        self._count += 1
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, (*order, make()))
        elif self.limit and order > self._heap[0][:2]:
            heapq.heapreplace(self._heap, (*order, make()))

    def sorted(self) -> list:
        """What was kept, worst first, in the order of adding where scores are equal."""
        kept = sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        return [item for *_, item in kept]


def gallery_data(
    images: list[dict], classes: Sequence[str], colors: Sequence[str]
) -> dict:
    """The page's images, and what can be laid over them.

    Args:
        images: What :func:`~mmseg_fsr.report.predict` gives of each.
        classes: Names of the C classes.
        colors: Their colours, as CSS writes them.

    Returns:
        What the page's script reads.
    """
    there = {"photo"}.union(*(image["layers"] for image in images))
    right = "truth" if "truth" in there else "photo"
    return dict(
        images=images,
        classes=[
            dict(name=name, color=color, background=name == "background")
            for name, color in zip(classes, colors, strict=True)
        ],
        layers=[
            dict(key=key, title=title) for key, title in LAYERS.items() if key in there
        ],
        scoreColumns=[dict(key=k, title=title) for k, title in COLUMN_TITLES.items()],
        left="prediction",
        right=right,
    )


def gallery_note(images: list[dict], predicted: int, has_masks: bool) -> str:
    """What the images of the page are.

    Args:
        images: Those shown.
        predicted: How many were predicted.
        has_masks: Whether they have masks.

    Returns:
        A few sentences.
    """
    if not has_masks:
        return (
            f"{len(images)} of {predicted} predicted images, in the order of the data "
            "set: without masks there is nothing to score."
        )
    which = f"The {len(images)} worst of {predicted}"
    if len(images) == predicted:
        which = f"All {predicted}"
    return (
        f"{which} predicted images, worst first. An "
        "image's IoU is the mean over the classes that its truth or prediction shows; "
        "pixels that truth marks as not scored (255) do not count. Drag the handle, or "
        "move it with the arrow keys."
    )
