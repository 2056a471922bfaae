r"""Counts what a training step launches and moves on a GPU, without one.

A step runs on tensors without values. Each operation counts as one kernel that reads
its arguments and writes its results once; its time is the largest of what the launch,
the bytes and the matrix products take on an H200.

Examples:
    python tools/analysis/count_launches.py configs/fsr/fsr_vit-b_1xb8_voc.py
    python tools/analysis/count_launches.py configs/fsr/fsr_vit-b_voc.py \
        --batch-size 1 8 --amp bfloat16 --out launches.json
"""

import argparse
from collections.abc import Sequence

import mmseg_fsr  # (first: says what to install if the stack is missing)

# isort: split
import mmengine
from mmengine.logging import MMLogger

from mmseg_fsr.analysis.benchmark import environment, markdown_table, write_and_print
from mmseg_fsr.analysis.launches import count_step
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_figures_file,
    add_precision,
    positive_int,
    read_step_config,
    require_figures_file,
    require_file,
)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config file; its weights are not loaded")
    parser.add_argument(
        "--batch-size",
        nargs="+",
        type=positive_int,
        default=[8],
        help="images of each view (default: 8)",
    )
    add_precision(parser)
    parser.add_argument(
        "--phase",
        choices=["random", "uncertain"],
        default="uncertain",
        help="what chooses the masks (default: uncertain)",
    )
    add_figures_file(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    require_file(parser, "config", args.config)
    require_figures_file(parser, args)
    return args


def table(parts: dict[str, dict[str, float]]) -> str:
    """A row for each part, the slowest first, and one for the step."""
    names = sorted(parts, key=lambda name: -parts[name]["seconds"])
    whole = {key: sum(part[key] for part in parts.values()) for key in parts[names[0]]}
    rows = [
        [
            name,
            f"{part['launches']:.0f}",
            f"{part['bytes'] / 1e9:.2f}",
            f"{part['operations'] / 1e12:.2f}",
            f"{part['seconds'] * 1e3:.2f}",
            f"{part['seconds_of_launches'] / part['seconds']:.0%}",
        ]
        for name, part in [*((name, parts[name]) for name in names), ("step", whole)]
    ]
    return markdown_table(
        ["part", "launches", "GB", "TFLOP", "ms", "of it bound by launches"], rows
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Counts a step for each batch size and prints the tables."""
    args = parse_args(argv)
    cfg = read_step_config(args.config, args.cfg_options)
    MMLogger.get_instance("mmseg_fsr", log_level="WARNING")
    rows, tables = [], ["computed, not measured"]
    for batch_size in args.batch_size:
        parts = count_step(cfg, batch_size, args.amp, args.phase == "random")
        rows.append(dict(batch_size=batch_size, phase=args.phase, parts=parts))
        precision = args.amp or "float32"
        tables.append(f"{precision}, masks {args.phase}, batch {batch_size}")
        tables.append(table(parts))
    where = environment(mmengine, mmseg_fsr)
    report = dict(config=args.config, amp=args.amp, environment=where, rows=rows)
    write_and_print(args.out, report, *tables)


if __name__ == "__main__":
    main()
