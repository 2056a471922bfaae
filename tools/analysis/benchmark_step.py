r"""Times a training step and its parts, on random images, and counts its operations.

Options that take several values (sizes, batches, labels, classes) change one at a time:
every row but the first has one value that differs from the first of each.

Examples:
    python tools/analysis/benchmark_step.py configs/fsr/fsr_vit-b_voc.py
    python tools/analysis/benchmark_step.py configs/fsr/fsr_vit-b_voc.py \
        --amp bfloat16 --size 448 320 --batch-size 8 1 4 --num-classes 20 80 \
        --out step.json
"""

import argparse
import contextlib
import copy
import itertools
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence

import mmseg_fsr  # (first: says what to install if the stack is missing)

# isort: split
import mmengine
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

from mmseg_fsr.analysis.benchmark import (
    STUDENT,
    UPDATES,
    PartMeter,
    PartTimer,
    environment,
    markdown_table,
    peak_memory,
    reset_peak_memory,
    time_call,
    watched_parts,
    write_and_print,
)
from mmseg_fsr.analysis.fake_device import training_batch
from mmseg_fsr.analysis.memory import run_progress, view_sizes, without_weights
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_figures_file,
    add_precision,
    positive_int,
    read_step_config,
    require_figures_file,
    require_file,
)
from mmseg_fsr.engine.hooks.ema_teacher_hook import update_ema

EMA_MOMENTUM = 0.9995
PHASES = ("random", "uncertain")
# Side of the matrices whose product gives the peak.
PEAK_SIDE = 4096


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config file; its weights are not loaded")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="where to run (default: the GPU if there is one)",
    )
    add_precision(parser)
    parser.add_argument(
        "--compile", action="store_true", help="as mmengine's `compile`"
    )
    parser.add_argument(
        "--phase",
        nargs="+",
        choices=PHASES,
        default=PHASES,
        help="what chooses the masks (default: both, each at its last step)",
    )
    for option, default, meaning in (
        ("--size", None, "side of the views in pixels (default: the config's)"),
        ("--batch-size", [1], "images of each view (default: 1)"),
        ("--labels", [2], "classes of each image (default: 2)"),
        ("--num-classes", None, "foreground classes (default: the config's)"),
    ):
        parser.add_argument(
            option, nargs="+", type=positive_int, default=default, help=meaning
        )
    parser.add_argument(
        "--repeats",
        type=int,
        default=5,
        help="timed steps of each row; 0 counts operations and memory only "
        "(default: 5)",
    )
    add_figures_file(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.repeats < 0:
        parser.error("--repeats: expected 0 or more")
    if args.amp == "float16" and args.device == "cpu":
        parser.error("--amp float16 needs a GPU: on a CPU give bfloat16")
    require_file(parser, "config", args.config)
    require_figures_file(parser, args)
    return args


class PackageStep:
    """The step of a config's model, with optimiser and teacher."""

    def __init__(
        self, cfg: Config, device: torch.device, amp: str | None, compiled: bool
    ) -> None:
        self.cfg = cfg
        self.device = device
        self.model = MODELS.build(without_weights(cfg.model)).to(device).train()
        self.model.init_weights()
        if amp == "bfloat16":
            cfg.optim_wrapper.update(type="BFloat16OptimWrapper")
        elif amp:
            cfg.optim_wrapper.update(type="AmpOptimWrapper", dtype=amp)
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        self.train_step = self.model.train_step
        if compiled:
            # mmengine's runner does the same with `compile = True`.
            self.train_step = torch.compile(self.train_step)

    def __call__(self, batch: dict) -> None:
        """Runs a step on a batch of the data loader."""
        self.train_step(batch, self.optim_wrapper)
        self._update_teacher()

    def _update_teacher(self) -> None:
        if self.model.teacher is not None:
            self.model.distill_head.update_centers()
            update_ema(self.model.teacher, self.model, EMA_MOMENTUM)

    def parts(self, batch: dict, meter: PartMeter) -> dict[str, float]:
        """What each part of a step costs, by a meter. The step is not compiled."""
        model = self.model
        with watched_parts(meter, model, self.optim_wrapper):
            model.train_step(batch, self.optim_wrapper)
        with meter.part(UPDATES):
            self._update_teacher()
        return dict(meter.amounts)


def random_batch(size: int, batch_size: int, num_labels: int, num_classes: int) -> dict:
    """What a data loader gives: two uint8 views of each image, and its labels."""
    generator = torch.Generator().manual_seed(0)
    batch = training_batch([(size, size)] * 2, num_classes, batch_size, num_labels)
    for image in itertools.chain(*batch["inputs"].values()):
        image.random_(256, generator=generator)
    for sample in batch["data_samples"]:
        order = torch.randperm(num_classes, generator=generator)
        sample.gt_label.label[order[:num_labels]] = 1
    return batch


def kinds_of_steps(
    phases: Sequence[str], values: Mapping[str, Sequence[int]]
) -> list[dict]:
    """The first of all values in each phase, then each other value by itself.

    Args:
        phases: Names of the phases.
        values: Values of size, batch and so on, by name.

    Returns:
        A dict for each row, which also has the phase.
    """
    kinds = [{name: first for name, (first, *_) in values.items()}]
    for name, (_, *others) in values.items():
        kinds += [kinds[0] | {name: other} for other in others]
    return [dict(phase=phase) | kind for phase in phases for kind in kinds]


def steps(args: argparse.Namespace) -> Iterator[tuple[dict, PackageStep, dict]]:
    """Each kind of step that the command line asks for, ready to run.

    Args:
        args: What :func:`parse_args` gives.

    Yields:
        The kind as :func:`kinds_of_steps` has it, the step, and its batch. The run's
        progress is set to the kind's phase.
    """
    cfg = read_step_config(args.config, args.cfg_options)
    MMLogger.get_instance("mmseg_fsr", log_level="WARNING")
    torch.manual_seed(0)
    values = dict(
        num_classes=args.num_classes or [cfg.model.cam_head.num_classes],
        size=args.size or [view_sizes(cfg)[0][0]],
        batch_size=args.batch_size,
        labels=args.labels,
    )
    phases = args.phase if cfg.model.get("mask_generator") else ["none"]
    # The model has its number of classes from the start: one model at a time.
    kinds = kinds_of_steps(phases, values)
    kinds.sort(key=lambda kind: values["num_classes"].index(kind["num_classes"]))
    for num_classes, alike in itertools.groupby(kinds, lambda x: x["num_classes"]):
        own = copy.deepcopy(cfg)
        own.model.cam_head.num_classes = num_classes
        own.model.decode_head.num_classes = num_classes + 1
        package = PackageStep(own, torch.device(args.device), args.amp, args.compile)
        for kind in alike:
            print(f"measuring {kind} ...", file=sys.stderr, flush=True)
            batch = random_batch(
                kind["size"], kind["batch_size"], kind["labels"], num_classes
            )
            with run_progress(cfg, kind["phase"] == "random"):
                yield kind, package, batch


@contextlib.contextmanager
def counted_operations() -> Iterator[FlopCounterMode]:
    """Counts the operations of matrix products, convolutions and attention.

    Attention becomes two matrix products, which torch can count on any device.
    """
    cuda, kinds = torch.backends.cuda, ("flash", "mem_efficient")
    before = {kind: getattr(cuda, f"{kind}_sdp_enabled")() for kind in kinds}
    for kind in kinds:
        getattr(cuda, f"enable_{kind}_sdp")(False)
    try:
        with FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        for kind, enabled in before.items():
            getattr(cuda, f"enable_{kind}_sdp")(enabled)


def measure(package: PackageStep, batch: dict, repeats: int) -> dict:
    """Memory, operations and, if there are repeats, times of one kind of step."""
    device = package.device
    package(batch)
    reset_peak_memory(device)
    package(batch)
    row: dict = dict(peak_memory=peak_memory(device))
    with counted_operations() as counter:
        meter = PartMeter(counter.get_total_flops)
        row["part_operations"] = package.parts(batch, meter)
    row["operations"] = counter.get_total_flops()
    if repeats:
        row["seconds"] = [
            time_call(device, lambda: package(batch)) for _ in range(repeats)
        ]
        row["parts"] = package.parts(batch, PartTimer(device))
    return row


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a product of two square matrices, the best of five."""
    left, right = (
        torch.randn(PEAK_SIDE, PEAK_SIDE, device=device, dtype=dtype) for _ in "lr"
    )
    times = [time_call(device, lambda: left @ right) for _ in range(5)]
    return 2 * PEAK_SIDE**3 / min(times)


def table(rows: Sequence[dict], peak: float) -> str:
    """The rows as a Markdown table, without times if none were taken."""
    lines = []
    for row in rows:
        cells = {"phase": row["phase"], "px": row["size"], "batch": row["batch_size"]}
        cells |= {"labels": row["labels"], "classes": row["num_classes"]}
        cells["TFLOP"] = f"{row['operations'] / 1e12:.3g}"
        cells["memory, GB"] = f"{row['peak_memory'] / 1e9:.2f}"
        if "seconds" in row:
            median = statistics.median(row["seconds"])
            spread = (max(row["seconds"]) - min(row["seconds"])) / 2
            cells["s a step"] = f"{median:.3g} ± {spread:.2g}"
            cells["images/s"] = f"{row['batch_size'] / median:.3g}"
            cells["of peak"] = f"{row['operations'] / median / peak:.0%}"
        lines.append(cells)
    return markdown_table(list(lines[0]), [list(cells.values()) for cells in lines])


def parts_table(rows: Sequence[dict], peak: float) -> str:
    """Each part's share of the step's time, and of the peak if it has operations.

    Each row of the first table is a column here. The last line is student and backward
    pass together.
    """
    names = sorted({name for row in rows for name in row["parts"]})
    lines = {name: [name] for name in names}
    lines["student, backward"] = ["student and backward"]
    for row in rows:
        whole = sum(row["parts"].values())
        for name, line in lines.items():
            parts = STUDENT if name == "student, backward" else (name,)
            time, operations = (
                sum(row[amounts].get(part, 0) for part in parts)
                for amounts in ("parts", "part_operations")
            )
            rate = operations / time if time else 0
            cell = f"{time / whole:.1%}"
            line.append(f"{cell}, {rate / peak:.0%} of peak" if rate else cell)
    head = ["part", *(f"{r['phase']}, {r['size']} px, {r['batch_size']}" for r in rows)]
    return markdown_table(head, list(lines.values()))


def main(argv: Sequence[str] | None = None) -> None:
    """Measures each kind of step and prints the tables."""
    args = parse_args(argv)
    rows = [
        kind | measure(package, batch, args.repeats)
        for kind, package, batch in steps(args)
    ]
    device, precision = torch.device(args.device), args.amp or "float32"
    peak = matrix_peak(device, getattr(torch, precision))
    report = dict(
        config=args.config,
        precision=precision,
        compile=args.compile,
        environment=environment(mmengine, mmseg_fsr, device=device),
        matrix_peak=peak,
        rows=rows,
    )
    tables = [f"{precision}, matrix product: {peak / 1e12:.3g} TFLOP/s"]
    tables.append(table(rows, peak))
    if args.repeats:
        tables.append(parts_table(rows, peak))
    write_and_print(args.out, report, *tables)


if __name__ == "__main__":
    main()
