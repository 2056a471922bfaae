r"""Measures how many images a second a config's training pipeline delivers.

Examples:
    python tools/analysis/benchmark_data.py configs/fsr/fsr_vit-b_1xb8_voc.py
    python tools/analysis/benchmark_data.py configs/fsr/fsr_vit-b_1xb8_voc.py \
        --workers 1 4 8 --gpu-rate 45 --out data.json
"""

import argparse
import contextlib
import copy
import itertools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

import mmseg_fsr  # (first: says what to install if the stack is missing)

# isort: split
import cv2
import mmcv
import mmengine
import PIL
import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner, set_random_seed
from mmengine.utils.dl_utils import set_multi_processing
from mmseg.utils import register_all_modules
from torch.utils.data import DataLoader

from mmseg_fsr.analysis.benchmark import PartTimer, environment, markdown_table
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_figures_file,
    merge_options,
    positive_int,
    require_figures_file,
    require_file,
)
from mmseg_fsr.utils.atomic_write import atomic_write

SEED = 0
# Those of training steps, which an H200 is to reach.
GPU_RATES = (30.0, 60.0)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line; ends with one line if something is out of range."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config file")
    cpus = os.cpu_count()
    parser.add_argument(
        "--workers", type=int, nargs="+", default=sorted({0, 1, cpus}),
        help="numbers of worker processes, 0 for none beside the program's own "
        "(default: 0, 1 and the number of CPUs)",
    )  # fmt: skip
    parser.add_argument(
        "--batches",
        type=positive_int,
        default=10,
        help="batches in a run (default: 10)",
    )
    parser.add_argument(
        "--runs", type=positive_int, default=5, help="number of runs (default: 5)"
    )
    parser.add_argument(
        "--gpu-rate", type=float, nargs="+", default=GPU_RATES, metavar="IMAGES/S",
        help="what training takes, to say how many workers that needs "
        "(default: 30 and 60, goals for an H200)",
    )  # fmt: skip
    add_figures_file(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if min(args.workers) < 0:
        parser.error("--workers: expected 0 or more")
    if not min(args.gpu_rate) > 0:
        parser.error("--gpu-rate: expected more than 0")
    require_file(parser, "config", args.config)
    require_figures_file(parser, args)
    return args


def build_loader(dataloader: ConfigDict, workers: int) -> DataLoader:
    """The config's data loader as mmengine builds it, seeded.

    Args:
        dataloader: The config's ``train_dataloader``.
        workers: Number of worker processes.

    Returns:
        The loader.
    """
    dataloader = copy.deepcopy(dataloader)
    dataloader.num_workers = workers
    if workers == 0:
        # Settings that torch refuses without workers.
        dataloader.pop("persistent_workers", None)
        dataloader.pop("prefetch_factor", None)
    set_random_seed(SEED)
    return Runner.build_dataloader(dataloader, seed=SEED)


def rates(loader: DataLoader, batches: int, runs: int) -> list[float]:
    """Images a second that a loader delivers to one who does nothing else.

    Args:
        loader: The loader.
        batches: Batches in a run.
        runs: Number of runs, without a pause between them.

    Returns:
        The rate of each run. The time in which workers start and the first batches
        of each are made is not counted.
    """
    stream = itertools.chain.from_iterable(itertools.repeat(loader))
    ahead = loader.num_workers * (loader.prefetch_factor or 0)
    for _ in range(ahead + 1):
        next(stream)
    measured = []
    for _ in range(runs):
        start = time.perf_counter()
        images = sum(len(next(stream)["data_samples"]) for _ in range(batches))
        measured.append(images / (time.perf_counter() - start))
    return measured


def innermost(transform: object) -> Iterator[object]:
    """The transforms that a transform wraps, all the way down; itself if none."""
    wrapped = [x for x in getattr(transform, "transforms", ()) if callable(x)]
    if not wrapped:
        yield transform
    for inner in wrapped:
        yield from innermost(inner)


def transform_times(loader: DataLoader, batches: int) -> dict[str, float]:
    """Where the time of an image goes, in this process.

    Args:
        loader: The loader, of a data set with a ``pipeline``.
        batches: How many batches to make.

    Returns:
        Seconds an image by the transforms' names, slowest first, with ``collate``
        and what is left, ``rest``: copies for each view among it. A transform that
        is applied at random has its mean.
    """
    timer = PartTimer(torch.device("cpu"))
    parts = {id(x): x for x in innermost(loader.dataset.pipeline)}
    images = 0
    indexes = iter(loader.batch_sampler)
    loader.dataset[0]
    with contextlib.ExitStack() as stack:
        for transform in parts.values():
            name = type(transform).__name__
            stack.enter_context(timer.watch(transform, "transform", name))
        start = time.perf_counter()
        for batch in itertools.islice(indexes, batches):
            items = [loader.dataset[index] for index in batch]
            with timer.part("collate"):
                loader.collate_fn(items)
            images += len(items)
        total = time.perf_counter() - start
    seconds = dict(sorted(timer.amounts.items(), key=lambda item: -item[1]))
    seconds["rest"] = total - sum(seconds.values())
    return {name: value / images for name, value in seconds.items()}


def workers_needed(rows: Sequence[dict], gpu_rate: float) -> int:
    """How many workers keep a GPU fed, if each has a core of its own.

    Args:
        rows: What was measured: ``workers`` and ``rates``.
        gpu_rate: Images a second that training takes.

    Returns:
        The number, from the rate of the fewest workers that were measured; they
        hinder each other least.
    """
    fewest = min(rows, key=lambda row: row["workers"] or math.inf)
    rate = statistics.median(fewest["rates"]) / max(fewest["workers"], 1)
    return math.ceil(gpu_rate / rate)


def tables(report: dict) -> str:
    """The report's figures as Markdown.

    Args:
        report: As it is written to ``--out``.

    Returns:
        Tables of the rates, of the transforms and of the workers that GPUs need.
    """
    speeds, parts = [], []
    for row in report["rows"]:
        workers, measured = row["workers"], row["rates"]
        median = statistics.median(measured)
        between = f"{min(measured):.1f} to {max(measured):.1f}"
        each = f"{median / max(workers, 1):.1f}"
        speeds.append([workers, f"{median:.1f}", between, each])
    total = sum(report["seconds_an_image"].values())
    for name, seconds in report["seconds_an_image"].items():
        parts.append([name, f"{1e3 * seconds:.2f}", f"{seconds / total:.0%}"])
    needs = [[f"{x['gpu_rate']:g}", x["workers"]] for x in report["needed"]]
    return "\n\n".join(
        [
            markdown_table(
                ["workers", "images/s", "range", "images/s a worker"], speeds
            ),
            markdown_table(["transform", "ms an image", "share"], parts),
            markdown_table(["a GPU takes, images/s", "workers that feed it"], needs),
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measures each number of workers, then the transforms in this process."""
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    merge_options(cfg, args.cfg_options)
    register_all_modules()
    facts = environment(mmengine, mmcv, PIL, cv2, mmseg_fsr)
    # As the runner does before it builds a loader.
    set_multi_processing(**cfg.env_cfg.get("mp_cfg", {}))
    rows = []
    for workers in args.workers:
        print(f"timing {workers} workers ...", file=sys.stderr, flush=True)
        loader = build_loader(cfg.train_dataloader, workers)
        rows.append(dict(workers=workers, rates=rates(loader, args.batches, args.runs)))
        del loader  # ends its workers
    print("timing the transforms ...", file=sys.stderr, flush=True)
    loader = build_loader(cfg.train_dataloader, workers=0)
    seconds = transform_times(loader, args.batches * args.runs)
    needed = [
        dict(gpu_rate=rate, workers=workers_needed(rows, rate))
        for rate in args.gpu_rate
    ]
    report = dict(
        config=args.config,
        batch_size=cfg.train_dataloader.batch_size,
        batches=args.batches,
        environment=facts,
        rows=rows,
        seconds_an_image=seconds,
        needed=needed,
    )
    if args.out is not None:
        with atomic_write(args.out, "w") as file:
            json.dump(report, file, indent=1)
    where = ", ".join(f"{name} {value}" for name, value in facts.items())
    print(f"{args.config}, batch size {report['batch_size']}, {where}\n")
    print(tables(report))


if __name__ == "__main__":
    main()
