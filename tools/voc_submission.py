r"""Packs predicted label maps for PASCAL VOC's evaluation server.

Example:
    python tools/voc_submission.py maps \
        data/VOCdevkit/VOC2012/ImageSets/Segmentation/test.txt \
        data/VOCdevkit/VOC2012/JPEGImages submission.tar
"""

import argparse
import io
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmengine.utils import track_iter_progress

from mmseg_fsr.cli.arguments import add_overwrite, exit_with, require_new
from mmseg_fsr.datasets import VOCImageLabelDataset
from mmseg_fsr.datasets.mask_file import check_mask, encode_mask, read_mask
from mmseg_fsr.datasets.split_file import read_split
from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.utils.label_ids import IGNORE_INDEX

METAINFO = VOCImageLabelDataset.METAINFO
# The folder where the server looks: segmentation, trained on any data.
FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


def encoded_map(maps: Path, images: Path, name: str) -> bytes:
    """Reads and checks a label map, and encodes it as a palette PNG.

    Raises:
        FileNotFoundError: If map or image is missing.
        ValueError: If the map cannot be decoded, is not of the image's size, or has
            ids other than 0 to 20.
    """
    path = maps / f"{name}.png"
    label = read_mask(path)
    check_mask(
        label, f"label map {path}", images / f"{name}.jpg", len(METAINFO["classes"])
    )
    if (label == IGNORE_INDEX).any():
        raise ValueError(
            f"label map {path} has undecided pixels ({IGNORE_INDEX}): the server "
            "wants a class for every pixel"
        )
    return encode_mask(label, METAINFO["palette"])


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("maps", type=Path, help="folder that test.py --out wrote")
    parser.add_argument("split", type=Path, help="list of the images to be scored")
    parser.add_argument("images", type=Path, help="folder of the images")
    parser.add_argument("out", type=Path, help="the .tar file to write")
    add_overwrite(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Checks all label maps and writes the archive if all are right."""
    args = parse_args(argv)
    problems = []
    try:
        require_new(args.out, args.overwrite, [args.maps, args.split, args.images])
        names = read_split(args.split)
        surplus = {path.stem for path in args.maps.glob("*.png")} - set(names)
        if surplus:
            problems.append(
                f"{args.maps} has {len(surplus)} maps that {args.split} does not name, "
                f"such as {min(surplus)}"
            )
        with atomic_write(args.out, "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                for name in track_iter_progress(names, file=sys.stdout):
                    try:
                        content = encoded_map(args.maps, args.images, name)
                    except (ValueError, OSError) as error:
                        problems.append(str(error))
                        continue
                    entry = tarfile.TarInfo(f"{FOLDER}/{name}.png")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
            if problems:
                raise ValueError(f"{args.out} is not written")
    except (ValueError, OSError) as error:
        problems.append(str(error))
    exit_with(problems)
    print(f"\nwrote {args.out}: {len(names)} label maps")


if __name__ == "__main__":
    main()
