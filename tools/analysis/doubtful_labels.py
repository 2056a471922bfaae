r"""Lists the image labels that are likely wrong or missing, and shows them.

cleanlab ranks the labels by what the classifier says of images that it was not trained
on. With checkpoints of several folds, each image is scored by those that did not see
it. Labels of images that all of them have seen are marked: in-sample.

Example:
    python tools/analysis/doubtful_labels.py configs/fsr/fsr_vit-t_scenes.py \
        work_dirs/demo/iter_540.pth --split val --out doubtful
"""

import argparse
import csv
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import mmseg_fsr

# isort: split
from mmseg.registry import DATASETS

from mmseg_fsr.analysis.doubtful_labels import rank_labels, require_cleanlab
from mmseg_fsr.analysis.label_rows import COLUMNS, label_rows, note, summary
from mmseg_fsr.analysis.label_scorers import choose_scorers, draw_labels, score_images
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    positive_int,
    read_config,
    require_file,
)
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.cli.output_folder import (
    mark_folder,
    refuse_data_folder,
    require_own_folder,
)
from mmseg_fsr.export.split_dataset import split_dataset
from mmseg_fsr.report import hex_color, photo_uri, render_page
from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.utils.first_names import first_names

TOOL = "tools/analysis/doubtful_labels.py"
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
    rows = label_rows(
        ranked.doubtful, dataset.image_names(), classes, scorers.in_sample
    )
    shown = ranked.doubtful[: args.gallery]
    pictures: list[dict[str, str]] = [{} for _ in shown]
    for place, *both in draw_labels(*common, shown):
        photo, cam = (photo_uri(picture, LONGEST) for picture in both)
        pictures[place] = dict(photo=photo, cam=cam)
    palette = dataset.metainfo["palette"]
    cards = [
        row | picture | dict(color=hex_color(palette[found.class_index + 1]))
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
    print(summary(rows, labels, probabilities, classes))
    if ranked.unranked:
        print(
            "not ranked, as no image or every image has them: "
            f"{first_names([classes[index] for index in ranked.unranked])}"
        )
    print(about)
    print(f"{table}: {len(rows)} doubtful labels of {len(dataset)} images")
    print(f"{gallery}: the first {len(cards)} with their CAMs")


@one_line_errors(ImportError)
def main(argv: Sequence[str] | None = None) -> None:
    """Writes the list and the page, or ends with one line."""
    write_doubtful_labels(parse_args(argv))


if __name__ == "__main__":
    main()
