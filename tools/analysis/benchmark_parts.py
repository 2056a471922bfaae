r"""Times the dense energy loss, the refinement and inference by themselves.

The sizes are those of the paper's runs on PASCAL VOC: the loss and the refinement at
half of 448 pixels, inference on 500 x 375. Pixels and weights are random.

Examples:
    python tools/analysis/benchmark_parts.py configs/fsr/fsr_vit-b_voc.py
    python tools/analysis/benchmark_parts.py configs/fsr/fsr_vit-b_voc.py \
        --device cuda --amp bfloat16 --out parts.json
"""

import argparse
import contextlib
import json
import statistics
from collections.abc import Callable, Sequence

import mmseg_fsr  # (first: says what to install if the stack is missing)

# isort: split
import mmengine
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import MMLogger
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from mmseg_fsr.analysis.benchmark import environment, markdown_table, time_call
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_figures_file,
    merge_options,
    positive_int,
    require_figures_file,
    require_file,
)
from mmseg_fsr.cli.run_options import require_keys
from mmseg_fsr.utils.atomic_write import atomic_write

BATCH, SIDE, NUM_MAPS = 4, 224, 4
HEIGHT, WIDTH = 375, 500


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
        help="inference in mixed precision (default: float32)",
    )
    parser.add_argument(
        "--repeats", type=positive_int, default=10, help="timed calls (default: 10)"
    )
    add_figures_file(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    require_file(parser, "config", args.config)
    require_figures_file(parser, args)
    return args


def energy_call(cfg: Config, device: torch.device) -> Callable[[], object]:
    """Forward and backward pass of the dense energy loss."""
    loss = MODELS.build(cfg.model.loss_energy)
    side = int(SIDE / loss.scale_factor)
    num_classes = cfg.model.decode_head.num_classes
    images = torch.rand(BATCH, 3, side, side, device=device) * 255
    logits = torch.randn(BATCH, num_classes, side, side, device=device)
    logits.requires_grad_()
    label = torch.randint(num_classes, (BATCH, side, side), device=device)
    return lambda: loss(images, logits, label).backward()


def refinement_call(cfg: Config, device: torch.device) -> Callable[[], object]:
    """Pixel-adaptive refinement."""
    refiner = MODELS.build(cfg.model.pseudo_label_generator.refiner).to(device)
    images = torch.rand(BATCH, 3, SIDE, SIDE, device=device)
    maps = torch.rand(BATCH, NUM_MAPS, SIDE, SIDE, device=device)
    return lambda: refiner(images, maps)


def inference_call(
    cfg: Config, device: torch.device, amp: str | None
) -> Callable[[], object]:
    """The config's test-time augmentation of an image that is loaded and resized."""
    require_keys(cfg, "inference", "tta_model", "tta_pipeline")
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.tta_model | dict(module=cfg.model)).to(device).eval()
    augment = cfg.tta_pipeline[1].copy()
    augment.transforms = [
        versions
        for versions in augment.transforms
        if versions[0].type != "LoadAnnotations"
    ]
    pipeline = Compose([dict(type="LoadImageFromNDArray"), augment])
    pixels = np.random.default_rng(0).integers(256, size=(HEIGHT, WIDTH, 3))
    data = pseudo_collate([pipeline(dict(img=pixels.astype(np.uint8)))])

    @torch.no_grad()
    def infer() -> None:
        precision = contextlib.nullcontext()
        if amp:
            precision = torch.autocast(device.type, getattr(torch, amp))
        with precision:
            model.test_step(data)

    return infer


def main(argv: Sequence[str] | None = None) -> None:
    """Times each of the three and prints a table."""
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    merge_options(cfg, args.cfg_options)
    register_all_modules()
    MMLogger.get_instance("mmseg_fsr", log_level="WARNING")
    device = torch.device(args.device)
    torch.manual_seed(0)
    num_classes = cfg.model.decode_head.num_classes
    calls = [
        (
            f"dense energy, {BATCH} images, {num_classes} classes, {SIDE} x {SIDE}, "
            "forward and backward",
            BATCH,
            energy_call(cfg, device),
        ),
        (
            f"refinement (PAR), {BATCH} images, {NUM_MAPS} maps, {SIDE} x {SIDE}",
            BATCH,
            refinement_call(cfg, device),
        ),
        (
            f"inference as with --tta, {WIDTH} x {HEIGHT}, {args.amp or 'float32'}",
            1,
            inference_call(cfg, device, args.amp),
        ),
    ]
    rows, lines = [], []
    for what, images, call in calls:
        call()
        times = [time_call(device, call) for _ in range(args.repeats)]
        rows.append(dict(what=what, images=images, seconds=times))
        median, spread = statistics.median(times), (max(times) - min(times)) / 2
        cells = [f"{median * 1e3:.3g} ± {spread * 1e3:.2g}", f"{images / median:.3g}"]
        lines.append([what, *cells])
    where = environment(mmengine, mmseg_fsr)
    cuda = device.type == "cuda"
    where["device"] = torch.cuda.get_device_name(device) if cuda else "CPU"
    if args.out is not None:
        report = dict(config=args.config, environment=where, rows=rows)
        with atomic_write(args.out, "w") as file:
            json.dump(report, file, indent=1)
    print(f"{args.config}, {', '.join(f'{k} {v}' for k, v in where.items())}\n")
    print(markdown_table(["what", "ms", "images/s"], lines))


if __name__ == "__main__":
    main()
