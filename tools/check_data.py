r"""Reads all images and masks of a config before it is trained, and names the bad ones.

The model and what loads the data are built, too, for settings that they do not know. No
weights are read.

Examples:
    python tools/check_data.py configs/fsr/fsr_pets.py
    python tools/check_data.py configs/fsr/fsr_vit-b_voc.py --splits train
"""

import argparse
import os
import sys
from collections.abc import Sequence

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmengine.utils import track_iter_progress

from mmseg_fsr.analysis.data_check import build_datasets, check_data, check_settings
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    exit_with,
    read_config,
    require_file,
)
from mmseg_fsr.cli.one_line_errors import one_line_errors

SPLITS = ("train", "val", "test")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; ends with one line if the config is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config of the training")
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=SPLITS,
        default=SPLITS,
        help="data sets to read (default: all that the config has)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="number of processes (default: the number of CPUs)",
    )
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    require_file(parser, "config", args.config)
    return args


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Prints what is there, and ends with 1 if anything is bad."""
    args = parse_args(argv)
    problems: list[str] = []
    cfg = read_config(args.config, args.cfg_options)
    datasets = {split: build_datasets(cfg, split, problems) for split in args.splits}
    check_settings(cfg, datasets, problems)
    if not any(datasets.values()) and not problems:
        problems.append(f"{args.config} has no data set of {', '.join(args.splits)}")
    size = cfg.get("crop_size")
    report = check_data(
        datasets,
        problems,
        size if isinstance(size, list | tuple) else None,
        args.workers,
        lambda loader: track_iter_progress((loader, len(loader)), file=sys.stdout),
    )
    # Test data are mostly those of validation.
    problems = list(dict.fromkeys(problems))
    print("\n" + "\n".join(report.notes))
    good = "" if problems else ", nothing is wrong"
    print(f"read {len(report.sizes)} images and {report.masks} masks{good}")
    exit_with(problems, shown=len(problems))


if __name__ == "__main__":
    main()
