"""Measures how many images a second the engines of the dense CRF refine."""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
from collections import deque

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import numpy
import torch
import torch.nn.functional as F
from mmengine.utils import ProgressBar
from torch import Tensor

from mmseg_fsr.analysis.benchmark import environment, markdown_table
from mmseg_fsr.cli.arguments import add_figures_file, require_figures_file
from mmseg_fsr.dependencies import installed_version
from mmseg_fsr.models.postprocessing import BaseDenseCRF, DenseCRF, PyDenseCRF
from mmseg_fsr.scenes import draw_scene
from mmseg_fsr.utils.atomic_write import atomic_write


def parse_args() -> argparse.Namespace:
    """Reads the command line; ends with one line if something is out of range."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--device", default="cpu", help="where DenseCRF runs (default: cpu)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        nargs="*",
        default=[1, os.cpu_count()],
        help="numbers of processes of PyDenseCRF to measure; none leaves it out "
        "(default: 1 and the number of CPUs)",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=[375, 500],
        metavar=("HEIGHT", "WIDTH"),
        help="size of the images (default: 375 500)",
    )
    parser.add_argument(
        "--classes", type=int, default=21, help="number of classes (default: 21)"
    )
    parser.add_argument(
        "--images", type=int, default=8, help="images in a run (default: 8)"
    )
    parser.add_argument(
        "--runs", type=int, default=5, help="number of runs (default: 5)"
    )
    parser.add_argument(
        "--network",
        type=float,
        default=0.2,
        metavar="SECONDS",
        help="time of a network on another device, beside which the engines are "
        "measured too (default: 0.2 an image)",
    )
    add_figures_file(parser)
    args = parser.parse_args()
    counts = [*args.workers, *args.size, args.images, args.runs, args.classes - 1]
    if min(counts) < 1 or args.network < 0:
        parser.error("sizes and counts must be 1 or more (classes 2), times 0 or more")
    if args.workers and importlib.util.find_spec("pydensecrf") is None:
        parser.error(
            "PyDenseCRF needs pydensecrf: pip install 'mmseg_fsr[crf]', or leave it "
            "out by an empty --workers"
        )
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError) as error:
        parser.error(f"--device {args.device}: {str(error).splitlines()[0]}")
    require_figures_file(parser, args)
    return args


def draw_input(
    index: int, height: int, width: int, classes: int
) -> tuple[Tensor, Tensor]:
    """Draws a scene and probabilities as smooth as a network's.

    Args:
        index: Number of the scene.
        height: Rows.
        width: Columns.
        classes: Number of classes.

    Returns:
        Image uint8 (3, H, W) and probabilities float32 (C, H, W).
    """
    scene = draw_scene(index, size=max(height, width, 32))
    image = torch.from_numpy(scene.image[:height, :width]).permute(2, 0, 1)
    mask = torch.from_numpy(scene.mask[:height, :width]).long() % classes
    logits = 6 * F.one_hot(mask, classes).permute(2, 0, 1).float()
    noise = torch.randn(classes, height // 16 + 2, width // 16 + 2)
    noise = F.interpolate(noise[None], (height, width), mode="bicubic")[0]
    blurred = F.avg_pool2d(logits + noise, 15, 1, 7, count_include_pad=False)
    return image.contiguous(), blurred.softmax(dim=0)


def seconds_an_image(
    crf: BaseDenseCRF, inputs: list[tuple[Tensor, Tensor]], network: float
) -> float:
    """Refines every image once, as many at a time as the test loop lets wait.

    Args:
        crf: The engine.
        inputs: Images and probabilities.
        network: Seconds that pass before each image is handed over, in which this
            process does nothing.

    Returns:
        Seconds of wall clock, divided by the number of images.
    """
    pending = deque()
    start = time.perf_counter()
    for pair in inputs:
        time.sleep(network)
        pending.append(crf.submit(*pair))
        while len(pending) > crf.max_pending:
            pending.popleft().result()
    for future in pending:
        future.result()
    return (time.perf_counter() - start) / len(inputs)


def rate(seconds: list[float]) -> dict[str, float]:
    """Images a second of several runs: median, lowest and highest."""
    rates = [1 / value for value in seconds]
    return dict(median=statistics.median(rates), min=min(rates), max=max(rates))


def table(results: list[dict], network: float) -> str:
    """The results as a Markdown table."""
    head = ["engine", "runs on", "images/s"]
    head.append(f"images/s beside a network of {network:g} s an image")
    cells = [
        [
            row["engine"],
            row["runs_on"],
            *(
                f"{value['median']:.2f} ({value['min']:.2f} to {value['max']:.2f})"
                for value in (row["alone"], row["beside_network"])
            ),
        ]
        for row in results
    ]
    return markdown_table(head, cells)


def main() -> None:
    """Measures each engine alone and beside a network, and prints a table."""
    args = parse_args()
    torch.manual_seed(0)
    facts = environment(numpy)
    facts["pydensecrf2"] = installed_version("pydensecrf2") or "none"
    inputs = [
        draw_input(index, *args.size, args.classes) for index in range(args.images)
    ]
    on_device = [(image, probs.to(args.device)) for image, probs in inputs]
    name = args.device
    if name == "cpu":
        name = f"CPU, threads: {torch.get_num_threads()}"
    elif name.startswith("cuda"):
        name = torch.cuda.get_device_name(args.device)
    engines = [("DenseCRF", name, lambda: DenseCRF(), on_device)]
    engines += [
        (
            "PyDenseCRF",
            f"CPU, processes: {workers}",
            lambda workers=workers: PyDenseCRF(num_workers=workers),
            inputs,
        )
        for workers in args.workers
    ]
    measured = [dict(engine=e, runs_on=r, seconds=([], [])) for e, r, _, _ in engines]
    bar = ProgressBar(2 * args.runs * len(engines), file=sys.stderr)
    # The engines take turns: what else the machine does then meets them alike.
    built = [build() for _, _, build, _ in engines]
    try:
        for crf, (_, _, _, data) in zip(built, engines, strict=True):
            seconds_an_image(crf, data, 0)  # starts the processes
        for _ in range(args.runs):
            for crf, row, engine in zip(built, measured, engines, strict=True):
                for seconds, network in zip(
                    row["seconds"], (0, args.network), strict=True
                ):
                    seconds.append(seconds_an_image(crf, engine[3], network))
                    bar.update()
    finally:
        for crf in built:
            crf.close()
    results = [
        dict(
            engine=row["engine"],
            runs_on=row["runs_on"],
            alone=rate(row["seconds"][0]),
            beside_network=rate(row["seconds"][1]),
        )
        for row in measured
    ]
    print(f"\n\n{table(results, args.network)}\n\n{json.dumps(facts)}")
    if args.out is not None:
        settings = dict(
            size=args.size,
            classes=args.classes,
            num_iters=DenseCRF().num_iters,
            images=args.images,
            runs=args.runs,
            network_seconds=args.network,
        )
        with atomic_write(args.out, "w") as file:
            json.dump(
                dict(machine=facts, settings=settings, results=results), file, indent=1
            )


if __name__ == "__main__":
    main()
