"""A folder of predictions: masks, painted pictures, CAMs and probabilities."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmseg_fsr.apis import Prediction
from mmseg_fsr.datasets.mask_file import write_mask
from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.visualization import overlay_labels

from .label_folder import MANIFEST, LabelFolder

_JPEG_QUALITY = 90
# The format has no longer sides.
_JPEG_LONGEST = 65500
# Beside the masks.
_SUFFIXES = dict(overlays=".jpg", cams=".npz", probabilities=".npz")


class PredictionFolder:
    """Predictions under the names of their images, and how they were made.

    - ``masks/NAME.png``: class ids, a palette PNG of the image's size;
    - ``overlays/NAME.jpg``: the image with the classes painted over it;
    - ``cams/NAME.npz``: ``cams`` (M, H, W) uint8, in 255ths, their ``ids`` (M,) and the
      names, ``classes`` (M,);
    - ``probabilities/NAME.npz``: ``probabilities`` (K + 1, H, W) uint8, in 255ths, and
      ``classes`` (K + 1,);
    - ``manifest.json``: the settings, and the file and labels of each image.

    Arrays are NumPy's, compressed, without pickles. A mask is written last: an image
    that has one is done. The manifest is written first, so that a run that was broken
    off can only go on with the same settings.

    Args:
        root: The folder; it need not exist.
        settings: What the predictions depend on, as plain values.
        origin: Further entries of the manifest.
        classes: Names of the K + 1 classes, the background first.
        palette: RGB colours, 0..255, by class id.
    """

    def __init__(
        self,
        root: str | Path,
        settings: Mapping[str, Any],
        origin: Mapping[str, Any],
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
    ) -> None:
        self.root = Path(root)
        self.origin = origin
        self._masks = LabelFolder(self.root, settings, {})
        self.classes = np.array(classes, dtype=str)
        self.palette = palette

    def begin(
        self,
        images: Mapping[str, Path],
        labels: Mapping[str, Sequence[str]] | None = None,
        overwrite: bool = False,
    ) -> list[str]:
        """Writes the manifest, and tells which images have yet to be predicted.

        Args:
            images: The file of each image by its name.
            labels: The classes that each may have. Defaults to None, all.
            overwrite: Whether to remove earlier masks of these names, of any settings.
                Defaults to False.

        Raises:
            FileExistsError: If the folder holds predictions of other settings, or the
                mask of another image of the same name, without ``overwrite``; files
                without a manifest.
            ValueError: If the manifest cannot be read.
        """
        names = [f"masks/{name}" for name in images]
        masks, listed = self._masks, list(images)
        todo = {listed[i] for i in masks.missing(names, overwrite)}
        known = {}
        if overwrite:
            self._remove(images)
        else:
            known = (masks.manifest() or {}).get("images", {})
        for name, file in images.items():
            entry = dict(
                file=str(file.resolve()),
                bytes=file.stat().st_size if file.is_file() else None,
                changed=file.stat().st_mtime_ns if file.is_file() else None,
                labels=None if labels is None else list(labels[name]),
            )
            if name not in todo and known.get(name) != entry:
                raise FileExistsError(
                    f"{masks.path(f'masks/{name}')} is of {_text(known.get(name))}, not"
                    f" of {_text(entry)}: choose another folder, or replace it with "
                    "--overwrite"
                )
            known[name] = entry
        masks.origin = dict(self.origin, images=known)
        masks.begin(names, overwrite)
        return [name for name in images if name in todo]

    def _remove(self, names: Iterable[str]) -> None:
        """Removes what an earlier run wrote, but for masks of these names.

        :class:`LabelFolder` removes those.

        Raises:
            FileExistsError: If no run has written to the folder.
        """
        manifest = self._masks.manifest()
        earlier = set((manifest or {}).get("images", {}))
        masks = [self._masks.path(f"masks/{x}") for x in earlier - set(names)]
        others = itertools.product(_SUFFIXES, earlier.union(names))
        paths = [*masks, *(self._path(*x) for x in others)]
        there = [path for path in paths if path.exists()]
        if there and manifest is None:
            raise FileExistsError(
                f"{there[0]} is there, but no {MANIFEST}, so this tool did not write "
                "it: choose another folder"
            )
        for path in there:
            path.unlink()

    def write(self, name: str, prediction: Prediction) -> None:
        """Writes what there is of a prediction without a problem."""
        overlay = Image.fromarray(
            overlay_labels(prediction.image, prediction.label, self.palette)
        )
        overlay.thumbnail((_JPEG_LONGEST, _JPEG_LONGEST))
        with atomic_write(self._new_path("overlays", name), "wb") as file:
            overlay.save(file, "JPEG", quality=_JPEG_QUALITY)
        if prediction.cams is not None:
            ids = np.array(prediction.cam_ids, np.uint8)
            with atomic_write(self._new_path("cams", name), "wb") as file:
                np.savez_compressed(
                    file, cams=prediction.cams, ids=ids, classes=self.classes[ids]
                )
        if prediction.probabilities is not None:
            with atomic_write(self._new_path("probabilities", name), "wb") as file:
                np.savez_compressed(
                    file, probabilities=prediction.probabilities, classes=self.classes
                )
        mask = self._masks.path(f"masks/{name}")
        mask.parent.mkdir(parents=True, exist_ok=True)
        write_mask(mask, prediction.label, self.palette)

    def complete(self, report: Mapping[str, Any]) -> None:
        """Adds the date of the end and a report, of plain values, to the manifest."""
        self._masks.complete(report)

    def _path(self, kind: str, name: str) -> Path:
        return self.root / kind / f"{name}{_SUFFIXES[kind]}"

    def _new_path(self, kind: str, name: str) -> Path:
        """A file to write, in a folder that is there."""
        path = self._path(kind, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _text(entry: Mapping[str, Any] | None) -> str:
    """An image as the manifest has it, in words."""
    if entry is None:
        return f"an image that {MANIFEST} does not name"
    labels = entry["labels"]
    return f"{entry['file']} ({entry['bytes']} bytes" + (
        ")" if labels is None else f", labels {labels})"
    )
