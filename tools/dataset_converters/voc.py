"""Prepares PASCAL VOC 2012 for training from image labels, and checks it.

Examples:
    python tools/dataset_converters/voc.py data/VOCdevkit --sbd data/benchmark_RELEASE
    python tools/dataset_converters/voc.py data/VOCdevkit --sbd SegmentationClassAug
    python tools/dataset_converters/voc.py data/VOCdevkit --check
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import numpy as np
from mmengine.utils import track_parallel_progress
from scipy.io import loadmat

from mmseg_fsr.cli.arguments import (
    add_converter_arguments,
    collecting_problems,
    exit_with,
)
from mmseg_fsr.datasets import VOCImageLabelDataset, write_label_file
from mmseg_fsr.datasets.mask_file import check_mask, read_mask, write_mask
from mmseg_fsr.datasets.preparation.label_sources import (
    labels_from_xml,
    require_any_class,
)
from mmseg_fsr.datasets.preparation.split_report import SplitFiles, report_splits
from mmseg_fsr.datasets.split_file import read_split, write_split
from mmseg_fsr.utils.atomic_write import write_unless_other

CLASSES = VOCImageLabelDataset.METAINFO["classes"]
PALETTE = VOCImageLabelDataset.METAINFO["palette"]
# Names in each list of the complete data set.
FULL_SIZE = dict(train=1464, val=1449, trainval=2913, train_aug=10582)
VOC_MASKS, ALL_MASKS = "SegmentationClass", "SegmentationClassAug"


@dataclass(frozen=True)
class VOCFolder:
    """Paths in a folder ``VOCdevkit/VOC2012``."""

    root: Path

    def image(self, name: str) -> Path:
        """The photograph of that name."""
        return self.root / "JPEGImages" / f"{name}.jpg"

    def mask(self, folder: str, name: str) -> Path:
        """The mask of that name in one of the two folders of masks."""
        return self.root / folder / f"{name}.png"

    def split(self, name: str) -> Path:
        """The list of that name."""
        return self.root / "ImageSets" / "Segmentation" / f"{name}.txt"

    @property
    def label_file(self) -> Path:
        """The image-level labels."""
        return self.root / "image_labels.json"


@dataclass(frozen=True)
class SBD:
    """Masks of the Semantic Boundaries Dataset.

    Args:
        names: The images that it has segmented.
        folder: Where their masks are.
        suffix: ``.mat`` or ``.png``.
    """

    names: Sequence[str]
    folder: Path
    suffix: str

    def mask(self, name: str) -> Path:
        """The mask of that name."""
        return self.folder / f"{name}{self.suffix}"


def read_mat(path: Path) -> np.ndarray:
    """Reads a mask of SBD's release.

    Args:
        path: A file of ``benchmark_RELEASE/dataset/cls``.

    Returns:
        (H, W) uint8 class ids, 0 the background.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read or holds no segmentation.
    """
    if not path.is_file():
        raise FileNotFoundError(f"SBD mask {path} does not exist: unpack SBD again")
    try:
        content = loadmat(path, variable_names=["GTcls"], simplify_cells=True)
        mask = np.asarray(content["GTcls"]["Segmentation"])
    except Exception as error:  # SciPy raises a dozen kinds for a damaged file.
        raise ValueError(
            f"SBD mask {path} cannot be read ({type(error).__name__}: {error}): "
            "unpack SBD again"
        ) from error
    if mask.ndim != 2:
        raise ValueError(f"SBD mask {path} is {mask.ndim}-dimensional, expected 2")
    return mask


def read_sbd(folder: Path) -> SBD:
    """Finds the masks of SBD in either form of its folder.

    Args:
        folder: ``benchmark_RELEASE`` as published, with ``.mat`` masks, or a folder
            of PNG masks, known as ``SegmentationClassAug``.

    Returns:
        Its names and masks.

    Raises:
        FileNotFoundError: If it is neither.
    """
    dataset = folder / "dataset"
    if dataset.is_dir():
        names = read_split(dataset / "train.txt") + read_split(dataset / "val.txt")
        return SBD(names, dataset / "cls", ".mat")
    names = sorted(path.stem for path in folder.glob("[!.]*.png"))
    if not names:
        raise FileNotFoundError(
            f"{folder} is not SBD: expected the folder benchmark_RELEASE with "
            "dataset/cls/*.mat, or a folder of PNG masks"
        )
    return SBD(names, folder, ".png")


def convert_mask(voc: VOCFolder, sbd: SBD, overwrite: bool, name: str) -> str | None:
    """Writes the mask of an image to the folder of all masks.

    VOC's own mask is preferred to SBD's, which is coarser. A mask that is there
    already stays, unless it is to be overwritten.

    Returns:
        What was wrong, if anything.
    """
    target = voc.mask(ALL_MASKS, name)
    if target.exists() and not overwrite:
        return None
    own = voc.mask(VOC_MASKS, name)
    source = own if own.exists() else sbd.mask(name)
    try:
        mask = read_mat(source) if source.suffix == ".mat" else read_mask(source)
        check_mask(mask, f"mask {source}", voc.image(name), len(CLASSES))
        write_mask(target, mask, PALETTE)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def prepare(
    voc: VOCFolder, sbd_folder: Path | None, workers: int, overwrite: bool
) -> list[str]:
    """Writes masks, the list ``train_aug`` and image labels.

    Args:
        voc: Where to read and write.
        sbd_folder: See :func:`read_sbd`; without it there is no ``train_aug``.
        workers: Number of processes.
        overwrite: Whether to replace what is there.

    Returns:
        What was wrong, a line for each file that could not be converted or written.
    """
    problems = []
    train, val = read_split(voc.split("train")), read_split(voc.split("val"))
    names = {*train, *val}
    if sbd_folder is not None:
        sbd = read_sbd(sbd_folder)
        names |= set(sbd.names)
        (voc.root / ALL_MASKS).mkdir(exist_ok=True)
        print(f"Masks in {voc.root / ALL_MASKS}:")
        convert = functools.partial(convert_mask, voc, sbd, overwrite)
        results = track_parallel_progress(
            convert, sorted(names), workers, chunksize=16, file=sys.stdout
        )
        print()
        problems += filter(None, results)
        with collecting_problems(problems):
            write = functools.partial(write_split, names=sorted(names - set(val)))
            write_unless_other(voc.split("train_aug"), write, overwrite)
    labels, unread = {}, []
    for name in sorted(names):
        with collecting_problems(unread):
            labels |= labels_from_xml(voc.root / "Annotations", [name], CLASSES[1:])
    problems += unread
    if unread:
        problems.append(
            f"{voc.label_file} is not written: mend these annotations first"
        )
        return problems
    with collecting_problems(problems):
        require_any_class(labels, voc.root / "Annotations")
        write = functools.partial(write_label_file, labels=labels)
        write_unless_other(voc.label_file, write, overwrite)
    return problems


def check(voc: VOCFolder) -> list[str]:
    """Prints how many images of each class the splits hold.

    Returns:
        What is missing, a line for each split and kind of file.
    """
    splits = {}
    for split, full_size in FULL_SIZE.items():
        if split == "train_aug" and not voc.split(split).exists():
            continue
        masks = ALL_MASKS if split == "train_aug" else VOC_MASKS
        files = dict(image=voc.image, mask=functools.partial(voc.mask, masks))
        splits[split] = SplitFiles(voc.split(split), files, full_size)
    table, problems = report_splits(splits, voc.label_file, CLASSES)
    print(table)
    return problems


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("devkit", type=Path, help="folder VOCdevkit, with VOC2012")
    parser.add_argument(
        "--sbd",
        type=Path,
        help="folder benchmark_RELEASE or SegmentationClassAug; without it train_aug "
        "is not written",
    )
    add_converter_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepares the folder, checks it, and tells what was wrong."""
    args = parse_args(argv)
    voc = VOCFolder(args.devkit / "VOC2012")
    problems: list[str] = []
    with collecting_problems(problems):
        if not voc.root.is_dir():
            raise FileNotFoundError(
                f"{voc.root} is not a folder: unpack VOC 2012's VOCtrainval archive"
            )
        if not args.check:
            problems += prepare(voc, args.sbd, args.workers, args.overwrite)
        if args.check or voc.label_file.exists():
            problems += check(voc)
    exit_with(problems)


if __name__ == "__main__":
    main()
