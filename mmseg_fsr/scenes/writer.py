"""Writes drawn scenes to a folder, laid out like PASCAL VOC."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from mmseg_fsr.datasets.label_file import write_label_file
from mmseg_fsr.datasets.mask_file import write_mask
from mmseg_fsr.datasets.split_file import write_split

from .scene import CLASSES, MAX_OBJECTS, PALETTE, draw_scene

MANIFEST = "scenes.json"
_VERSION = 1
# The series begin far apart, so that the size of one does not change the others.
_FIRST_INDEX = {"train": 0, "ground": 500_000, "val": 1_000_000}

Progress = Callable[[int, int], None]


def write_scenes(
    out: str | Path,
    train: int = 800,
    val: int = 200,
    size: int = 128,
    seed: int = 0,
    max_objects: int = MAX_OBJECTS,
    grounds: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> bool:
    """Writes a data set of scenes, unless the same one is there already.

    The folder gets ``JPEGImages/*.jpg``, ``SegmentationClass/*.png`` (palette
    images of class ids), ``ImageSets/Segmentation/{train,val}.txt``,
    ``image_labels.json`` and a manifest. It appears under its name only once it
    is complete.

    Args:
        out: The folder to write.
        train: Number of training pictures. Defaults to 800.
        val: Number of validation pictures. Defaults to 200.
        size: Side of the square pictures in pixels. Defaults to 128.
        seed: Seed of the series. Defaults to 0.
        max_objects: Most objects in a picture, in 1..4. Defaults to 4.
        grounds: Number of training pictures besides ``train`` that show no object.
            Defaults to 0.
        overwrite: Whether scenes of other parameters may be replaced. Defaults
            to False.
        progress: Called as ``progress(done, total)`` after each picture. Defaults to
            None.

    Returns:
        Whether anything was written; False if the same data set was there.

    Raises:
        FileExistsError: If the folder holds anything but scenes, or scenes of
            other parameters and ``overwrite`` is not set.
        ValueError: If ``train`` or ``val`` is not positive, ``grounds`` is negative,
            ``max_objects``, the size or seed is out of range, or the folder is the
            current one.
    """
    if train < 1 or val < 1:
        raise ValueError(f"train and val must be at least 1, got {train} and {val}")
    if not 1 <= max_objects <= MAX_OBJECTS or grounds < 0:
        raise ValueError(
            f"max_objects must be in 1..{MAX_OBJECTS}, got {max_objects}, and grounds "
            f"not negative, got {grounds}"
        )
    root = Path(out).resolve()
    if root == Path.cwd():
        raise ValueError(f"{root} is the current folder: name one within it")
    manifest = dict(
        version=_VERSION,
        train=train,
        val=val,
        size=size,
        seed=seed,
        max_objects=max_objects,
        grounds=grounds,
        classes=CLASSES,
    )
    manifest = json.loads(json.dumps(manifest))
    if _is_there(root, manifest, overwrite):
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _write_pictures(draft, manifest, progress)
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        draft.chmod(0o755)
        # Others may have written there while the pictures were drawn.
        new = not _is_there(root, manifest, overwrite)
        if new:
            if overwrite and root.exists():
                shutil.rmtree(root)
            draft.rename(root)  # refuses all but an empty folder
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return new


def _is_there(root: Path, manifest: dict, overwrite: bool) -> bool:
    """Whether these scenes are there; refuses a folder that must not be replaced."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    found = _read_manifest(root)
    if found != manifest and not overwrite:
        raise FileExistsError(
            f"{root} holds scenes of other parameters ({found}, asked for "
            f"{manifest}): choose another folder or let them be overwritten"
        )
    return found == manifest


def _read_manifest(root: Path) -> dict:
    """The manifest of a folder of scenes; refuses any other folder."""
    path = root / MANIFEST
    if not path.is_file():
        raise FileExistsError(
            f"{root} exists and has no {MANIFEST}, so it is not a folder of scenes: "
            "choose another folder"
        )
    try:
        found = json.loads(path.read_text())
    except ValueError:
        return {}
    if not isinstance(found, dict) or "classes" not in found:
        raise FileExistsError(
            f"{path} is another program's, so {root} is not a folder of scenes: choose "
            "another folder"
        )
    # What folders have that were written before these were parameters.
    return dict(max_objects=MAX_OBJECTS, grounds=0) | found


def _write_pictures(root: Path, manifest: dict, progress: Progress | None) -> None:
    """Draws and writes pictures, masks, splits and the label file."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    seed, size, most = (manifest[key] for key in ("seed", "size", "max_objects"))
    series = [
        ("train", manifest["train"], most),
        ("ground", manifest["grounds"], 0),
        ("val", manifest["val"], most),
    ]
    total = sum(count for _, count, _ in series)
    labels: dict[str, list[int]] = {}
    for title, count, max_objects in series:
        for number in range(count):
            scene = draw_scene(_FIRST_INDEX[title] + number, seed, size, max_objects)
            name = f"{title}_{number:05d}"
            picture = Image.fromarray(scene.image)
            picture.save(root / "JPEGImages" / f"{name}.jpg", quality=92)
            write_mask(root / "SegmentationClass" / f"{name}.png", scene.mask, PALETTE)
            labels[name] = scene.labels
            if progress is not None:
                progress(len(labels), total)
    splits = root / "ImageSets" / "Segmentation"
    names = list(labels)
    write_split(splits / "train.txt", names[: -manifest["val"]])
    write_split(splits / "val.txt", names[-manifest["val"] :])
    write_label_file(root / "image_labels.json", labels)
