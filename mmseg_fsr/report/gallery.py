"""The pictures of the page, and the images that it shows."""

import base64
import bisect
import io
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from PIL import Image

from mmseg_fsr.utils.label_ids import IGNORE_INDEX
from mmseg_fsr.visualization import IGNORED_COLOR

from .score_tables import COLUMN_TITLES

# The layers that a reader can choose, in the order of the page.
_LAYERS = {
    "photo": "Image",
    "cams": "CAM",
    "pseudo_label": "Pseudo label",
    "prediction": "Prediction",
    "truth": "Truth",
}


def hex_color(color: Sequence[int]) -> str:
    """A colour, RGB, 0..255, as CSS writes it, such as ``#e6503c``."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def _shrunk(picture: Image.Image, longest: int, filter_: int) -> Image.Image:
    """The picture with a longer side of at most ``longest``; never enlarged."""
    scale = min(1.0, longest / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), filter_)


def _data_uri(picture: Image.Image, file_format: str, **options) -> str:
    content = io.BytesIO()
    picture.save(content, format=file_format, **options)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return f"data:image/{file_format.lower()};base64,{encoded}"


def photo_uri(image: np.ndarray, longest: int) -> str:
    """Data URI of a photograph, as WebP.

    Args:
        image: RGB picture (H, W, 3), uint8.
        longest: Limit of the longer side, in pixels.
    """
    picture = _shrunk(Image.fromarray(image), longest, Image.Resampling.LANCZOS)
    return _data_uri(picture, "WEBP", quality=80, method=4)


def label_uri(
    label: np.ndarray,
    palette: Sequence[Sequence[int]],
    longest: int,
    clear: int | None = None,
) -> str:
    """Data URI of a label map, as palette PNG. Undecided pixels are light grey.

    Args:
        label: Class ids (H, W), integer, 255 where undecided or not scored.
        palette: RGB colours, 0..255, by class id.
        longest: Limit of the longer side, in pixels.
        clear: Class id that is transparent. Defaults to None.
    """
    # With 255 moved to the end of the palette, a pixel takes fewer bits.
    ids = np.where(label == IGNORE_INDEX, len(palette), label).astype(np.uint8)
    picture = _shrunk(Image.fromarray(ids), longest, Image.Resampling.NEAREST)
    picture.putpalette(np.array([*palette, IGNORED_COLOR], np.uint8).tobytes())
    options = {} if clear is None else {"transparency": clear}
    return _data_uri(picture, "PNG", optimize=True, **options)


def cam_uri(cams: np.ndarray, palette: Sequence[Sequence[int]], longest: int) -> str:
    """Data URI of CAMs, as WebP, by colour and strength of the strongest class's CAM.

    Args:
        cams: CAMs of the foreground classes (K, H, W) in 0..1, the opacity.
        palette: RGB colours, 0..255, of background and the K classes.
        longest: Limit of the longer side, in pixels.
    """
    color = np.asarray(palette, np.uint8)[cams.argmax(0) + 1]
    strength = np.round(cams.max(0) * 255).astype(np.uint8)
    picture = Image.fromarray(np.dstack([color, strength]))
    picture = _shrunk(picture, longest, Image.Resampling.BILINEAR)
    return _data_uri(picture, "WEBP", quality=70, method=4)


class WorstImages:
    """Keeps ``limit`` images with the lowest scores, and makes pictures of these only.

    Of images of one score it keeps those that come first.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: list[tuple[float, Any]] = []

    def add(self, score: float | None, make: Callable[[], Any]) -> None:
        """Keeps an image if it is among the worst so far.

        Args:
            score: Score in 0..1. None, an unknown score, ranks after all others.
            make: Returns what to keep. It is called only if the image is kept.
        """
        order = 2.0 if score is None else score
        place = bisect.bisect(self._kept, order, key=itemgetter(0))
        if place < self.limit:
            self._kept.insert(place, (order, make()))
            del self._kept[self.limit :]

    def sorted(self) -> list:
        """What was kept, worst first; equal scores in the order of adding."""
        return [item for _, item in self._kept]


def gallery_data(
    images: list[dict], classes: Sequence[str], colors: Sequence[str]
) -> dict:
    """The images and the layers that can be shown of them, as the page's script reads.

    Args:
        images: Images from :func:`~mmseg_fsr.report.predict`.
        classes: Names of the C classes.
        colors: Their CSS colours.
    """
    there = {"photo"}.union(*(image["layers"] for image in images))
    return dict(
        images=images,
        classes=[
            dict(name=name, color=color, background=name == "background")
            for name, color in zip(classes, colors, strict=True)
        ],
        layers=[
            dict(key=key, title=title) for key, title in _LAYERS.items() if key in there
        ],
        scoreColumns=[dict(key=k, title=title) for k, title in COLUMN_TITLES.items()],
        left="prediction",
        right="truth" if "truth" in there else "photo",
    )


def gallery_note(
    images: list[dict], predicted: int, has_masks: bool, has_labels: bool = False
) -> str:
    """Says which of the predicted images the page shows, and in which order."""
    if has_labels:
        which = f"{len(images)} of {predicted}"
        if len(images) == predicted:
            which = f"All {predicted}"
        return (
            f"{which} images, those first whose labels and the classifier disagree "
            "most. There are no masks: what is drawn is predicted, and nothing says "
            "whether it is right. Each class has the classifier's score, 0 to 1; a "
            "question mark stands where a label is missing or the score is below 0.5. "
            "CAMs and pseudo labels are those of the labels."
        )
    if not has_masks:
        return (
            f"{len(images)} of {predicted} predicted images, in the order of the data "
            "set: without masks there is nothing to score."
        )
    which = f"The {len(images)} worst of {predicted}"
    if len(images) == predicted:
        which = f"All {predicted}"
    return (
        f"{which} predicted images, worst first. An image's IoU is the mean over the "
        "classes that its truth or prediction shows; pixels that truth marks as not "
        "scored (255) do not count. Drag the handle, or move it with the arrow keys."
    )
