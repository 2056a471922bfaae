r"""Lists the image labels that are likely wrong or missing, and shows them.

cleanlab ranks the labels by what the classifier says of images that it was not trained
on. With checkpoints of several folds, each image is scored by those that did not see
it. Labels of images that all of them have seen are marked: in-sample.

Example:
    python tools/analysis/doubtful_labels.py configs/fsr/fsr_vit-t_scenes.py \
        work_dirs/demo/iter_540.pth --split val --out doubtful
"""

import argparse
import copy
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import mmseg_fsr

# isort: split
import cv2
import numpy as np
from mmengine.config import Config
from mmengine.utils import track_iter_progress
from mmseg.registry import DATASETS

from mmseg_fsr.analysis.doubtful_labels import (
    DoubtfulLabel,
    class_cam,
    class_probabilities,
    rank_labels,
    require_cleanlab,
)
from mmseg_fsr.analysis.training_images import training_images
from mmseg_fsr.apis import init_model
from mmseg_fsr.checkpoints import load_checkpoint_file
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    positive_int,
    read_config,
    require_file,
)
from mmseg_fsr.cli.output_folder import (
    mark_folder,
    refuse_data_folder,
    require_own_folder,
)
from mmseg_fsr.datasets import ImageLabelDataset
from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.export.split_dataset import split_dataset
from mmseg_fsr.models.segmentors import CAMSegmentor
from mmseg_fsr.report import hex_color, photo_uri, render_page
from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.utils.class_names import compare_classes
from mmseg_fsr.utils.first_names import first_names
from mmseg_fsr.visualization import overlay_heat

TOOL = "tools/analysis/doubtful_labels.py"
COLUMNS = ("rank", "image", "class", "given", "score", "kind", "in_sample")
KINDS = {True: "likely wrong", False: "likely missing"}
# Longer side of the pictures, in pixels.
LONGEST = 320


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; ends with one line if a file is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config of the training")
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="checkpoint",
        help="the trained model, or one of each fold",
    )
    parser.add_argument(
        "--out", required=True, type=Path, help="folder for the list and the page"
    )
    parser.add_argument(
        "--split",
        default="train",
        help="whose labels: train, val, or a list of images of the training folder "
        "(default: train)",
    )
    parser.add_argument(
        "--gallery",
        type=positive_int,
        default=100,
        help="number of labels that the page shows (default: 100)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder of other files"
    )
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    require_file(parser, "config", args.config)
    for checkpoint in args.checkpoints:
        require_file(parser, "checkpoint", checkpoint)
    return args


class Scorers(NamedTuple):
    """Which checkpoints score which images.

    Attributes:
        in_sample: For each image "no", "yes" if every checkpoint was trained on it, or
            "unknown" if none is known not to be.
        chosen: Whether a checkpoint scores an image (checkpoints, images), bool: those
            that were not trained on it, else those that may not be, else all.
    """

    in_sample: list[str]
    chosen: np.ndarray


def choose_scorers(
    checkpoints: Sequence[str], dataset: ImageLabelDataset, settings: dict
) -> Scorers:
    """Lets images be scored by checkpoints that were not trained on them.

    Args:
        checkpoints: Their files.
        dataset: The images.
        settings: Settings of the data set.
    """
    trained = [
        training_images(load_checkpoint_file(path).rest.get("meta"))
        for path in checkpoints
    ]
    marks, columns = [], []
    for name in dataset.image_names():
        seen = [images and images.include(name, settings) for images in trained]
        best = next(answer for answer in (False, None, True) if answer in seen)
        marks.append({False: "no", None: "unknown", True: "yes"}[best])
        columns.append([answer is best for answer in seen])
    return Scorers(marks, np.array(columns).T)


def load_model(
    cfg: Config, checkpoint: str, dataset: ImageLabelDataset
) -> CAMSegmentor:
    """The trained model, whose classes are those of the data set.

    Raises:
        ValueError: If the checkpoint does not fit.
    """
    model = init_model(copy.deepcopy(cfg), checkpoint)
    theirs = getattr(model, "dataset_meta", {}).get("classes")
    compare_classes(dataset.metainfo["classes"], theirs, "the data set", checkpoint)
    return model


def score_images(
    cfg: Config,
    checkpoints: Sequence[str],
    dataset: ImageLabelDataset,
    chosen: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N, K), and the mean probabilities (N, K) of each image's checkpoints.

    Args:
        cfg: Config of the model.
        checkpoints: The files.
        dataset: The N images.
        chosen: Which of them score which image (checkpoints, N), bool.
    """
    shape = len(dataset), len(dataset.metainfo["classes"]) - 1
    labels, total = np.zeros(shape), np.zeros(shape)
    for checkpoint, own in zip(checkpoints, chosen, strict=True):
        indices = np.flatnonzero(own)
        if not len(indices):
            continue
        model = load_model(cfg, checkpoint, dataset)
        print(f"{checkpoint}: scoring {len(indices)} of {len(dataset)} images")
        labels[indices], found = class_probabilities(model, dataset, indices.tolist())
        print()
        total[indices] += found
    return labels, total / chosen.sum(0)[:, None]


def draw_cards(
    cfg: Config,
    checkpoints: Sequence[str],
    dataset: ImageLabelDataset,
    chosen: np.ndarray,
    doubtful: Sequence[DoubtfulLabel],
) -> list[dict[str, str]]:
    """Pictures of the labels: the photograph, and the CAM of the class in question."""
    cards: list[dict[str, str]] = [{} for _ in doubtful]
    # The first of the checkpoints that have scored an image draws it.
    first = chosen.argmax(0)
    for number, checkpoint in enumerate(checkpoints):
        places = [i for i, x in enumerate(doubtful) if first[x.image] == number]
        if not places:
            continue
        model = load_model(cfg, checkpoint, dataset)
        print(f"{checkpoint}: drawing {len(places)} CAMs")
        for place in track_iter_progress(places, file=sys.stdout):
            found = doubtful[place]
            path = dataset.get_data_info(found.image)["img_path"]
            photo = read_image(path, dataset.metainfo.get("pixel_range"))
            cam = class_cam(model, dataset[found.image], found.class_index)
            cam = cv2.resize(cam, photo.shape[1::-1])
            heat = overlay_heat(photo, cam)
            cards[place] = dict(
                photo=photo_uri(photo, LONGEST), cam=photo_uri(heat, LONGEST)
            )
        print()
    return cards


def summary(rows: Sequence[dict], labels: np.ndarray, classes: Sequence[str]) -> str:
    """A table of the classes: labels given, likely wrong and likely missing ones."""
    counts = Counter((row["class"], row["kind"]) for row in rows)
    width = max(map(len, ("class", *classes)))
    lines = [f"{'class':{width}}  labelled  {'  '.join(KINDS.values())}"]
    for name, given in zip(classes, (labels > 0).sum(0), strict=True):
        cells = [f"{counts[name, kind]:{len(kind)}d}" for kind in KINDS.values()]
        lines.append(f"{name:{width}}  {given:8d}  {'  '.join(cells)}")
    return "\n".join(lines)


def note(in_sample: Sequence[str]) -> str:
    """Says what the scores are worth."""
    counts, total = Counter(in_sample), len(in_sample)
    text = "A score is the probability that the label is right, by the classifier."
    if counts["no"] == total:
        return f"{text} It was not trained on these images."
    if counts["yes"]:
        text += (
            f" It was trained on {counts['yes']} of {total} images with these labels, "
            "and repeats them: mistakes are missed (docs/doubtful_labels.md). Such "
            "scores are marked as in-sample."
        )
    if counts["unknown"]:
        text += (
            f" Of {counts['unknown']} of {total} images the checkpoints do not tell "
            "whether it was trained on them (docs/doubtful_labels.md)."
        )
    return text


def write_doubtful_labels(args: argparse.Namespace) -> None:
    """Scores, ranks and writes.

    Raises:
        ImportError: If cleanlab is not installed.
        OSError: If a file is missing, or the folder holds other files.
        ValueError: If a file does not hold what it should.
    """
    require_cleanlab()
    cfg = read_config(args.config, args.cfg_options)
    refuse_data_folder("--out", args.out, cfg)
    require_own_folder("--out", args.out, TOOL, args.overwrite)
    settings = split_dataset(cfg, args.split)
    dataset = DATASETS.build(settings)
    scorers = choose_scorers(args.checkpoints, dataset, settings)
    common = cfg, args.checkpoints, dataset, scorers.chosen
    labels, probabilities = score_images(*common)
    ranked = rank_labels(labels, probabilities)

    classes = dataset.metainfo["classes"][1:]
    names = dataset.image_names()
    rows = [
        dict(
            rank=rank,
            image=names[found.image],
            given=int(found.given),
            score=round(found.score, 4),
            kind=KINDS[found.given],
            in_sample=scorers.in_sample[found.image],
        )
        | {"class": classes[found.class_index]}
        for rank, found in enumerate(ranked.doubtful, start=1)
    ]
    shown = ranked.doubtful[: args.gallery]
    pictures = draw_cards(*common, shown)
    palette = dataset.metainfo["palette"]
    cards = [
        dict(
            **picture,
            rank=row["rank"],
            name=row["image"],
            class_name=row["class"],
            color=hex_color(palette[found.class_index + 1]),
            kind=row["kind"],
            score=row["score"],
            in_sample=row["in_sample"],
        )
        for row, found, picture in zip(rows, shown, pictures, strict=False)
    ]
    about = note(scorers.in_sample)
    page = render_page(
        "doubtful_labels.html",
        "mmseg_fsr doubtful labels",
        title=Path(args.config).stem,
        facts=[
            f"{len(dataset)} images of {args.split}",
            f"{len(rows)} doubtful labels, {len(cards)} shown",
            *(Path(checkpoint).name for checkpoint in args.checkpoints),
        ],
        note=about,
        cards=cards,
        version=mmseg_fsr.__version__,
        date=f"{datetime.now():%Y-%m-%d %H:%M}",
    )
    mark_folder(args.out, TOOL)
    table, gallery = (args.out / f"doubtful_labels.{x}" for x in ("csv", "html"))
    with atomic_write(table, "w") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with atomic_write(gallery, "w") as file:
        file.write(page)
    print(summary(rows, labels, classes))
    if ranked.unranked:
        print(
            "not ranked, as no image or every image has them: "
            f"{first_names([classes[index] for index in ranked.unranked])}"
        )
    print(about)
    print(f"{table}: {len(rows)} doubtful labels of {len(dataset)} images")
    print(f"{gallery}: the first {len(cards)} with their CAMs")


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the list and the page, or ends with one line."""
    args = parse_args(argv)
    try:
        write_doubtful_labels(args)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
