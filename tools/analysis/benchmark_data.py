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
from mmengine.config import ConfigDict
from mmengine.runner import Runner, set_random_seed
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from mmseg_fsr.analysis.benchmark import (
    PartTimer,
    environment,
    markdown_table,
    write_and_print,
)
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_figures_file,
    positive_int,
    read_config,
    require_figures_file,
    require_file,
)
from mmseg_fsr.cli.one_line_errors import one_line_errors

SEED = 0
# Goals of a training step on an H200.
GPU_RATES = (30.0, 60.0)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; ends with one line if a value is out of range."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config file")
    parser.add_argument(
        "--workers",
        type=int,
        nargs="+",
        default=sorted({0, 1, os.cpu_count()}),
        help="numbers of worker processes; 0 loads in the main process "
        "(default: 0, 1 and the number of CPUs)",
    )
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
        "--gpu-rate",
        type=float,
        nargs="+",
        default=GPU_RATES,
        metavar="IMAGES/S",
        help="images a second that training takes; the tool says how many workers "
        "they need (default: 30 and 60, goals for an H200)",
    )
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
    """The ``train_dataloader`` of a config as mmengine builds it, seeded."""
    dataloader = copy.deepcopy(dataloader)
    dataloader.num_workers = workers
    if workers == 0:
        # torch refuses these settings without workers.
        dataloader.pop("persistent_workers", None)
        dataloader.pop("prefetch_factor", None)
    set_random_seed(SEED)
    return Runner.build_dataloader(dataloader, seed=SEED)


def rates(loader: DataLoader, batches: int, runs: int) -> list[float]:
    """Images a second that a loader delivers while nothing else is done.

    Args:
        loader: The loader.
        batches: Batches in a run.
        runs: Number of runs, without a pause between them.

    Returns:
        The rate of each run. The start of the workers and the first batches of each
        are not timed.
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
    """The transforms that a transform wraps, at all depths; itself if it wraps none."""
    wrapped = [x for x in getattr(transform, "transforms", ()) if callable(x)]
    if not wrapped:
        yield transform
    for inner in wrapped:
        yield from innermost(inner)


def transform_times(loader: DataLoader, batches: int) -> dict[str, float]:
    """How the time of an image is spent, in this process.

    Args:
        loader: The loader, of a data set with a ``pipeline``.
        batches: Number of batches to make.

    Returns:
        Seconds an image by the transforms' names, slowest first, then ``collate`` and
        the ``rest``, such as the copies for each view. A transform that is applied at
        random has its mean.
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
    """How many workers keep a GPU fed if each has its own core.

    Args:
        rows: The measured ``workers`` and ``rates``.
        gpu_rate: Images a second that training takes.

    Returns:
        The number, by the rate of the fewest workers that were measured, because they
        hinder each other least.
    """
    fewest = min(rows, key=lambda row: row["workers"] or math.inf)
    rate = statistics.median(fewest["rates"]) / max(fewest["workers"], 1)
    return math.ceil(gpu_rate / rate)


def tables(report: dict) -> list[str]:
    """Markdown tables of the rates, the transforms and the workers that GPUs need."""
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
    return [
        markdown_table(["workers", "images/s", "range", "images/s a worker"], speeds),
        markdown_table(["transform", "ms an image", "share"], parts),
        markdown_table(["a GPU takes, images/s", "workers that feed it"], needs),
    ]


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Measures each number of workers, then the transforms in this process."""
    args = parse_args(argv)
    cfg = read_config(args.config, args.cfg_options)
    facts = environment(mmengine, mmcv, PIL, cv2, mmseg_fsr)
    # mmengine's runner does this before it builds a loader.
    set_multi_processing(**cfg.env_cfg.get("mp_cfg", {}))
    rows = []
    for workers in args.workers:
        print(f"timing {workers} workers ...", file=sys.stderr, flush=True)
        loader = build_loader(cfg.train_dataloader, workers)
        rows.append(dict(workers=workers, rates=rates(loader, args.batches, args.runs)))
        del loader  # ends its workers
    print("timing the transforms ...", file=sys.stderr, flush=True)
    loader = build_loader(cfg.train_dataloader, workers=0)
    report = dict(
        config=args.config,
        batch_size=cfg.train_dataloader.batch_size,
        batches=args.batches,
        environment=facts,
        rows=rows,
        seconds_an_image=transform_times(loader, args.batches * args.runs),
        needed=[
            dict(gpu_rate=rate, workers=workers_needed(rows, rate))
            for rate in args.gpu_rate
        ],
    )
    batches = f"Batches of {report['batch_size']}:"
    write_and_print(args.out, report, batches, *tables(report))


if __name__ == "__main__":
    main()
