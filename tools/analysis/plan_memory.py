r"""Computes the memory of a training step on a GPU, without one, and fits it in.

With ``--memory`` it proposes batch size, gradient accumulation and gradient
checkpointing that keep the config's global batch, and writes a config that inherits.
Without, it prints the memory of several batches. A step takes some ten seconds.

Examples:
    python tools/analysis/plan_memory.py configs/fsr/fsr_vit-b_voc.py --memory 11 \
        --out configs/fsr/fsr_vit-b_voc_11gib.py
    python tools/analysis/plan_memory.py configs/fsr/fsr_*_voc.py --batch-size 1 8
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# isort: split
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmseg_fsr.analysis.benchmark import markdown_table
from mmseg_fsr.analysis.memory import checkpointed_backbone, step_memory
from mmseg_fsr.analysis.memory_plan import (
    GIB,
    Plan,
    overrides,
    plan_step,
    usable_bytes,
    with_checkpointing,
)
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_overwrite,
    add_precision,
    positive_int,
    read_step_config,
    require_figures_file,
    require_file,
)
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.utils.atomic_write import atomic_write

# Of widespread GPUs, in GiB.
SIZES = (8, 11, 24, 80)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config", nargs="+", help="a config file, or several for the table"
    )
    parser.add_argument("--memory", type=float, help="of each GPU, in GiB: fit it in")
    parser.add_argument(
        "--gpus", type=positive_int, default=1, help="number of GPUs (default: 1)"
    )
    add_precision(parser)
    parser.add_argument(
        "--batch-size",
        nargs="+",
        type=positive_int,
        default=[1, 8],
        help="without --memory: images on each GPU (default: 1 8)",
    )
    parser.add_argument("--out", type=Path, help="with --memory: the config to write")
    add_overwrite(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    for config in args.config:
        require_file(parser, "config", config)
    if args.memory is not None and usable_bytes(args.memory) <= 0:
        parser.error("--memory: 1 GiB is set aside for CUDA, give more")
    if args.memory is not None and len(args.config) > 1:
        parser.error("--memory: expected one config")
    if args.out is not None and args.memory is None:
        parser.error("--out: only with --memory")
    require_figures_file(parser, args)
    return args


def config_text(config: str, changed: dict, folder: Path) -> str:
    """A config in a folder that inherits another and changes settings."""
    base = os.path.relpath(config, folder)
    return f"_base_ = {base!r}\n{Config(changed).pretty_text}"


def report(plan: Plan, memory: float) -> str:
    """A plan as a line."""
    cp = "with" if plan.with_cp else "without"
    return (
        f"batch_size={plan.batch_size}, accumulative_counts={plan.parts}, {cp} "
        f"gradient checkpointing: {plan.peak / GIB:.2f} of "
        f"{usable_bytes(memory) / GIB:.2f} GiB"
    )


def table(args: argparse.Namespace) -> str:
    """Memory of each config and batch, without and with gradient checkpointing."""
    head = ["config", "batch", "GiB", "GiB, with_cp"]
    rows = []
    for config in args.config:
        cfg = read_step_config(config, args.cfg_options)
        variants = [cfg]
        if checkpointed_backbone(cfg):
            variants.append(with_checkpointing(cfg))
        for batch_size in args.batch_size:
            print(f"{config}, batch {batch_size} ...", file=sys.stderr, flush=True)
            try:
                peaks = [
                    step_memory(variant, batch_size, args.amp, args.gpus)
                    for variant in variants
                ]
            except ValueError as error:
                # Such as a batch norm that would see one value.
                print(f"{config}, batch {batch_size}: {error}", file=sys.stderr)
                peaks = []
            cells = [f"{peak / GIB:.2f}" for peak in peaks]
            rows.append(
                [Path(config).stem, batch_size, *cells, *["-"] * (2 - len(cells))]
            )
    return markdown_table(head, rows)


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, or prints and writes a plan."""
    args = parse_args(argv)
    MMLogger.get_instance("mmseg_fsr", log_level="WARNING")
    precision, torch_version = args.amp or "float32", f"torch {torch.__version__}"
    print(f"{precision}, {args.gpus} GPU(s), {torch_version}, computed, not measured\n")
    if args.memory is None:
        print(table(args))
        return
    (config,) = args.config
    cfg = read_step_config(config, args.cfg_options)
    plan = plan_step(cfg, args.memory, args.gpus, args.amp)
    print(report(plan, args.memory))
    if args.gpus > 1:
        print(f"start it with tools/dist_train.sh and {args.gpus} GPUs")
    text = config_text(config, overrides(cfg, plan), (args.out or Path(".")).parent)
    if args.out is None:
        print(f"\n{text}")
        return
    with atomic_write(args.out, "w") as file:
        file.write(text)
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
