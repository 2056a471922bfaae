r"""Times a training step and its parts, on random images, and counts its operations.

Of several sizes, batches, numbers of labels or of classes the first are the step that
the others depart from, one at a time.

Examples:
    python tools/analysis/benchmark_step.py configs/fsr/fsr_vit-b_voc.py
    python tools/analysis/benchmark_step.py configs/fsr/fsr_vit-b_voc.py \
        --amp bfloat16 --size 448 320 --batch-size 8 1 4 --num-classes 20 80 \
        --out step.json
    python tools/analysis/benchmark_step.py configs/fsr/fsr_vit-b_voc.py --against plain
"""

import argparse
import contextlib
import copy
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import mmseg_fsr  # (first: says what to install if the stack is missing)

# isort: split
import mmengine
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.structures import LabelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmseg_fsr.analysis.benchmark import (
    PartMeter,
    PartTimer,
    environment,
    markdown_table,
    peak_memory,
    reset_peak_memory,
    time_call,
)
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_figures_file,
    merge_options,
    positive_int,
    require_figures_file,
    require_file,
)
from mmseg_fsr.engine.hooks.ema_teacher_hook import update_ema
from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.utils.training_progress import training_progress

ROOT = Path(__file__).resolve().parents[2]
EMA_MOMENTUM = 0.9995
PHASES = ("random", "uncertain")
# Where the network itself trains.
STUDENT = ("student", "backward")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config file; its weights are not loaded")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="where to run (default: the GPU if there is one)",
    )
    parser.add_argument(
        "--amp",
        choices=["bfloat16", "float16"],
        help="mixed precision (default: float32)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="as mmengine's `compile`"
    )
    parser.add_argument(
        "--phase", nargs="+", choices=PHASES, default=PHASES,
        help="what chooses the masks (default: both, each at its last step)",
    )  # fmt: skip
    parser.add_argument(
        "--size", nargs="+", type=positive_int,
        help="side of the views in pixels (default: the config's)",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", nargs="+", type=positive_int, default=[1],
        help="images of each view (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--labels",
        nargs="+",
        type=positive_int,
        default=[2],
        help="classes of each image (default: 2)",
    )
    parser.add_argument(
        "--num-classes", nargs="+", type=positive_int,
        help="foreground classes of the data set (default: the config's)",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", type=int, default=5,
        help="timed steps of each row; 0 counts operations and memory alone "
        "(default: 5)",
    )  # fmt: skip
    parser.add_argument(
        "--against", choices=["plain"],
        help="time in turns a plain step of the same network, from the tests",
    )  # fmt: skip
    add_figures_file(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.repeats < 0:
        parser.error("--repeats: expected 0 or more")
    if args.against and not args.repeats:
        parser.error("--against: expected --repeats of 1 or more")
    require_file(parser, "config", args.config)
    require_figures_file(parser, args)
    return args


def matrix_peak(device: torch.device, dtype: torch.dtype, side: int = 4096) -> float:
    """Operations a second of a product of two square matrices, the best of five."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in "lr")
    return 2 * side**3 / min(time_call(device, lambda: left @ right) for _ in range(5))


@contextlib.contextmanager
def written_out_attention() -> Iterator[None]:
    """Attention as two matrix products, which torch can count on any device."""
    kinds = ("flash", "mem_efficient")
    before = [getattr(torch.backends.cuda, f"{kind}_sdp_enabled")() for kind in kinds]
    for kind in kinds:
        getattr(torch.backends.cuda, f"enable_{kind}_sdp")(False)
    try:
        yield
    finally:
        for kind, enabled in zip(kinds, before, strict=True):
            getattr(torch.backends.cuda, f"enable_{kind}_sdp")(enabled)


class PackageStep:
    """The step of a config's model, with optimiser and teacher."""

    def __init__(
        self, cfg: Config, device: torch.device, amp: str | None, compiled: bool
    ) -> None:
        self.device = device
        cfg.model.backbone.init_cfg = None
        self.model = MODELS.build(cfg.model).to(device).train()
        self.model.init_weights()
        self.context = contextlib.nullcontext
        if amp and device.type == "cuda":
            cfg.optim_wrapper.update(type="AmpOptimWrapper", dtype=amp)
        elif amp:
            # mmengine has its wrapper for accelerators alone.
            dtype = getattr(torch, amp)
            self.context = lambda: torch.autocast(device.type, dtype)
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        self.train_step = self.model.train_step
        if compiled:
            # What mmengine's runner does with `compile = True`.
            self.train_step = torch.compile(self.train_step)

    def __call__(self, batch: dict) -> None:
        """Runs a step on a batch of the data loader."""
        with self.context():
            self.train_step(batch, self.optim_wrapper)
        if self.model.teacher is not None:
            self.model.distill_head.update_centers()
            update_ema(self.model.teacher, self.model, EMA_MOMENTUM)

    def parts(self, batch: dict, meter: PartMeter) -> dict[str, float]:
        """What each part of a step costs, by a meter; nothing of it is compiled."""
        model = self.model
        watched = [
            (model.data_preprocessor, "forward", "data"),
            (model, "cams", "CAMs"),
            (model.backbone, "forward", "student"),
            (model.cam_head, "loss", "losses"),
            (model.decode_head, "forward", "student"),
            (model.pseudo_label_generator, "pseudo_label", "refinement (PAR)"),
            (model.decode_head.loss_decode, "forward", "losses"),
            (model.affinity_head, "loss_by_labels", "losses"),
            (model.loss_energy, "forward", "dense energy"),
            (model.distill_head, "loss", "losses"),
            (model.teacher and model.teacher.backbone, "forward", "teacher"),
            (self.optim_wrapper, "backward", "backward"),
            (self.optim_wrapper, "step", "optimiser, teacher's update"),
        ]
        with contextlib.ExitStack() as stack:
            for owner, method, name in watched:
                if owner is not None:
                    stack.enter_context(meter.watch(owner, method, name))
            with self.context():
                model.train_step(batch, self.optim_wrapper)
        with meter.part("optimiser, teacher's update"):
            if model.teacher is not None:
                model.distill_head.update_centers()
                update_ema(model.teacher, model, EMA_MOMENTUM)
        return dict(meter.amounts)


class PlainStep:
    """The tests' plain step of a network of the same size."""

    def __init__(self, cfg: Config, model: nn.Module, device: torch.device) -> None:
        sys.path.insert(0, str(ROOT))
        from tests.reference.plain_fsr import random_weights
        from tests.reference.plain_step import PlainStep as Method

        backbone, distill_head = cfg.model.backbone, cfg.model.distill_head
        if (backbone.type, cfg.model.decode_head.type) != ("FSRViT", "LargeFOVHead"):
            raise ValueError(
                "--against plain knows FSRViT with LargeFOVHead, got "
                f"{backbone.type} with {cfg.model.decode_head.type}"
            )
        patch = backbone.patch_size
        self.method = Method(
            patch_size=patch,
            num_heads=model.backbone.layers[0].attn.num_heads,
            dilation=cfg.model.decode_head.dilation,
            cam_scales=model.pseudo_label_generator.scales,
            block_size=cfg.model.mask_generator.block_size,
        )
        self.student = {
            name: x.to(device).requires_grad_(not name.endswith("weight_g"))
            for name, x in random_weights(
                channels=model.backbone.embed_dims,
                num_layers=model.backbone.num_layers,
                cls_depth=backbone.aggregator.depth,
                grid=backbone.img_size // patch,
                patch_size=patch,
                num_classes=model.cam_head.num_classes,
                decoder_channels=cfg.model.decode_head.channels,
                hidden=distill_head.hidden_channels,
                bottleneck=distill_head.bottleneck_channels,
                out=distill_head.out_channels,
            ).items()
        }
        self.teacher = {k: x.detach().clone() for k, x in self.student.items()}
        trained = [x for x in self.student.values() if x.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=6e-5)
        self.energy = model.loss_energy
        self.preprocess = model.data_preprocessor

    def __call__(self, batch: dict) -> None:
        """Runs a step on a batch of the data loader."""
        data = self.preprocess(batch, True)
        view1, view2 = data["inputs"].values()
        labels = torch.stack([x.gt_label.label for x in data["data_samples"]])
        blocks = [side // self.method.block_size for side in view2.shape[2:]]
        progress = training_progress()
        out = self.method.step(
            self.student,
            self.teacher,
            view1,
            view2,
            labels,
            noise=torch.rand(len(view2), *blocks),
            step=progress.step,
            max_iters=progress.max_iters,
            energy=self.energy,
        )
        sum(out["losses"].values()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for name, x in self.teacher.items():
                x.lerp_(self.student[name], 1 - EMA_MOMENTUM)


def random_batch(size: int, batch_size: int, num_labels: int, num_classes: int) -> dict:
    """What a data loader hands on: uint8 views and image labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, size, size)
    samples = []
    for _ in range(batch_size):
        label = torch.zeros(num_classes)
        label[torch.randperm(num_classes, generator=generator)[:num_labels]] = 1
        sample = SegDataSample(gt_label=LabelData(label=label))
        sample.set_metainfo(dict(num_labels=num_labels))
        samples.append(sample)
    inputs = {
        view: [
            torch.randint(256, shape, generator=generator, dtype=torch.uint8)
            for _ in samples
        ]
        for view in ("view1", "view2")
    }
    return dict(inputs=inputs, data_samples=samples)


def enter_phase(phase: str, cfg: Config) -> None:
    """Publishes the last step of a phase, as mmengine's runner does."""
    last = cfg.train_cfg.max_iters
    if phase == "random":
        last = int(cfg.model.mask_generator.random_phase * last)
    hub = MessageHub.get_current_instance()
    hub.update_info("iter", last - 1)
    hub.update_info("max_iters", cfg.train_cfg.max_iters)


def count_row(package: PackageStep, batch: dict) -> dict:
    """Memory and operations of one kind of step."""
    package(batch)
    reset_peak_memory(package.device)
    package(batch)
    row = dict(peak_memory=peak_memory(package.device))
    with counted_operations() as counter:
        meter = PartMeter(counter.get_total_flops)
        row["part_operations"] = package.parts(batch, meter)
    return row | dict(operations=counter.get_total_flops())


@contextlib.contextmanager
def counted_operations() -> Iterator[FlopCounterMode]:
    """Counts those of matrix products, convolutions and attention."""
    with written_out_attention(), FlopCounterMode(display=False) as counter:
        yield counter


def time_row(
    package: PackageStep, plain: PlainStep | None, batch: dict, repeats: int
) -> dict:
    """Times of one kind of step."""
    device = package.device
    package(batch)
    row: dict = {"seconds": []}
    if plain is not None:
        with counted_operations() as counter:
            plain(batch)
        row["plain_operations"] = counter.get_total_flops()
        row["plain_seconds"] = []
    for _ in range(repeats):
        row["seconds"].append(time_call(device, lambda: package(batch)))
        if plain is not None:
            row["plain_seconds"].append(time_call(device, lambda: plain(batch)))
    return row | dict(parts=package.parts(batch, PartTimer(device)))


def table(rows: Sequence[dict], peak: float) -> str:
    """The rows as a Markdown table, without times where none were taken."""
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
        if "plain_seconds" in row:
            plain = statistics.median(row["plain_seconds"])
            cells["plain, TFLOP"] = f"{row['plain_operations'] / 1e12:.3g}"
            cells["plain, s"] = f"{plain:.3g}"
            cells["faster"] = f"{plain / median:.2f}x"
        lines.append(cells)
    return markdown_table(list(lines[0]), [list(cells.values()) for cells in lines])


def parts_table(rows: Sequence[dict], peak: float) -> str:
    """Each part's share of the step's time and, where it has operations, of the peak.

    A column for each row of the first table; the last line is student and backward
    pass together.
    """
    names = sorted({name for row in rows for name in row["parts"]})
    lines = {name: [name] for name in names}
    lines["student, backward"] = ["student and backward"]
    for row in rows:
        whole = sum(row["parts"].values())
        for name, line in lines.items():
            parts = STUDENT if name == "student, backward" else (name,)
            time = total(row["parts"], parts)
            rate = total(row["part_operations"], parts) / time if time else 0
            cell = f"{time / whole:.1%}"
            line.append(f"{cell}, {rate / peak:.0%} of peak" if rate else cell)
    head = ["part", *(f"{r['phase']}, {r['size']} px, {r['batch_size']}" for r in rows)]
    return markdown_table(head, list(lines.values()))


def total(amounts: Mapping[str, float], names: Sequence[str]) -> float:
    """Sum of what these parts cost, 0 for those that the step does not have."""
    return sum(amounts.get(name, 0) for name in names)


def kinds_of_steps(
    phases: Sequence[str], values: Mapping[str, Sequence[int]]
) -> list[dict]:
    """The first of all values in each phase, then each other value by itself.

    Args:
        phases: Names of the phases.
        values: Values of size, batch and so on, by name.

    Returns:
        A dict for each row, the phase among it.
    """
    kinds = [{name: first for name, (first, *_) in values.items()}]
    for name, (_, *others) in values.items():
        kinds += [kinds[0] | {name: other} for other in others]
    return [dict(phase=phase) | kind for phase in phases for kind in kinds]


def measure(cfg: Config, kinds: Sequence[dict], args: argparse.Namespace) -> list[dict]:
    """The rows of kinds of steps that have one number of classes."""
    device = torch.device(args.device)
    num_classes = kinds[0]["num_classes"]
    cfg.model.cam_head.num_classes = num_classes
    cfg.model.decode_head.num_classes = num_classes + 1
    package = PackageStep(cfg, device, args.amp, args.compile)

    def enter(kind: dict) -> dict:
        enter_phase(kind["phase"], cfg)
        return random_batch(
            kind["size"], kind["batch_size"], kind["labels"], num_classes
        )

    # The plain step's memory is not to count as the package's.
    rows = [kind | count_row(package, enter(kind)) for kind in kinds]
    if args.repeats:
        plain = PlainStep(cfg, package.model, device) if args.against else None
        for kind, row in zip(kinds, rows, strict=True):
            print(f"timing {kind} ...", file=sys.stderr, flush=True)
            row |= time_row(package, plain, enter(kind), args.repeats)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Measures each kind of step and prints the tables."""
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    merge_options(cfg, args.cfg_options)
    register_all_modules()
    MMLogger.get_instance("mmseg_fsr", log_level="WARNING")
    device = torch.device(args.device)
    torch.manual_seed(0)
    dtype = getattr(torch, args.amp) if args.amp else torch.float32
    crop = cfg.train_pipeline[1].transforms[0][0].scale[0]
    values = dict(
        num_classes=args.num_classes or [cfg.model.cam_head.num_classes],
        size=args.size or [crop],
        batch_size=args.batch_size,
        labels=args.labels,
    )
    phases = args.phase
    if cfg.model.mask_generator is None:
        if args.against:
            sys.exit(f"error: {args.config} has no self-distillation: --against has it")
        phases = ["none"]
    kinds = kinds_of_steps(phases, values)
    rows = []
    for num_classes in dict.fromkeys(values["num_classes"]):
        alike = [kind for kind in kinds if kind["num_classes"] == num_classes]
        rows += measure(copy.deepcopy(cfg), alike, args)
    peak = matrix_peak(device, dtype)
    where = environment(mmengine, mmseg_fsr)
    cuda = device.type == "cuda"
    where["device"] = torch.cuda.get_device_name(device) if cuda else "CPU"
    precision = args.amp or "float32"
    report = dict(
        config=args.config, precision=precision, compile=args.compile,
        environment=where, matrix_peak=peak, rows=rows,
    )  # fmt: skip
    if args.out is not None:
        with atomic_write(args.out, "w") as file:
            json.dump(report, file, indent=1)
    print(
        f"{args.config}, {precision}, {', '.join(f'{k} {v}' for k, v in where.items())}"
    )
    print(f"matrix product: {peak / 1e12:.3g} TFLOP/s\n")
    print(table(rows, peak))
    if args.repeats:
        print("", parts_table(rows, peak), sep="\n")


if __name__ == "__main__":
    main()
