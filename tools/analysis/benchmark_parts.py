r"""Times dense energy loss, refinement, lattice, inference and the dense CRF.

Each part runs by itself, at the size that the paper's runs on PASCAL VOC have: loss,
refinement and lattice at half of 448 pixels, inference and CRF on 500 x 375.

Examples:
    python tools/analysis/benchmark_parts.py configs/fsr/fsr_vit-b_voc.py
    python tools/analysis/benchmark_parts.py configs/fsr/fsr_vit-b_voc.py \
        --device cuda --amp bfloat16 --out parts.json
"""

import argparse
import contextlib
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

from mmseg_fsr.analysis.benchmark import (
    environment,
    markdown_table,
    time_call,
    write_and_print,
)
from mmseg_fsr.analysis.memory import without_weights
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_figures_file,
    add_precision,
    positive_int,
    read_step_config,
    require_figures_file,
    require_file,
)
from mmseg_fsr.ops import PermutohedralLattice, bilateral_features
from mmseg_fsr.scenes import draw_scene
from mmseg_fsr.utils.config_file import require_keys

BATCH, SIDE, NUM_MAPS = 4, 224, 4
HEIGHT, WIDTH = 375, 500


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
        "--repeats", type=positive_int, default=10, help="timed calls (default: 10)"
    )
    add_figures_file(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    require_file(parser, "config", args.config)
    require_figures_file(parser, args)
    return args


def energy_call(cfg: Config, device: torch.device) -> Callable[[], object]:
    """Forward and backward pass of the dense energy loss, on random pixels."""
    loss = MODELS.build(cfg.model.loss_energy)
    side = int(SIDE / loss.scale_factor)
    num_classes = cfg.model.decode_head.num_classes
    images = torch.rand(BATCH, 3, side, side, device=device) * 255
    logits = torch.randn(BATCH, num_classes, side, side, device=device)
    logits.requires_grad_()
    label = torch.randint(num_classes, (BATCH, side, side), device=device)
    return lambda: loss(images, logits, label).backward()


def refinement_call(cfg: Config, device: torch.device) -> Callable[[], object]:
    """Pixel-adaptive refinement of random maps."""
    refiner = MODELS.build(cfg.model.pseudo_label_generator.refiner).to(device)
    images = torch.rand(BATCH, 3, SIDE, SIDE, device=device)
    maps = torch.rand(BATCH, NUM_MAPS, SIDE, SIDE, device=device)
    return lambda: refiner(images, maps)


def lattice_call(cfg: Config, device: torch.device) -> Callable[[], object]:
    """Lattice of random pixels, built and used once, as in the dense energy loss."""
    loss = MODELS.build(cfg.model.loss_energy)
    images = torch.rand(BATCH, 3, SIDE, SIDE, device=device) * 255
    sigmas = loss.sigma_rgb, loss.sigma_xy * loss.scale_factor
    features = bilateral_features(images, *sigmas)
    values = torch.rand(
        BATCH, cfg.model.decode_head.num_classes, SIDE**2, device=device
    )
    return lambda: PermutohedralLattice(features).filter(values)


def inference_call(
    cfg: Config, device: torch.device, amp: str | None
) -> Callable[[], object]:
    """The config's test-time augmentation of an image that is loaded and resized."""
    module = without_weights(cfg.model)
    model = MODELS.build(cfg.tta_model | dict(module=module)).to(device).eval()
    augment = next(step for step in cfg.tta_pipeline if step.type == "TestTimeAug")
    augment = augment.copy()
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


def crf_call(cfg: Config, device: torch.device) -> Callable[[], object]:
    """The config's dense CRF, on a drawn scene.

    Its lattice has many more points for random pixels than for a picture.
    """
    crf = MODELS.build(cfg.crf)
    pixels = draw_scene(0, size=max(HEIGHT, WIDTH)).image[:HEIGHT, :WIDTH]
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    classes = cfg.model.decode_head.num_classes
    probs = torch.randn(1, classes, HEIGHT, WIDTH, device=device).softmax(dim=1)
    return lambda: crf(images, probs)


def main(argv: Sequence[str] | None = None) -> None:
    """Times each part and prints a table."""
    args = parse_args(argv)
    cfg = read_step_config(args.config, args.cfg_options)
    require_keys(cfg, "benchmark_parts.py", "tta_model", "tta_pipeline", "crf")
    MMLogger.get_instance("mmseg_fsr", log_level="WARNING")
    device = torch.device(args.device)
    torch.manual_seed(0)
    classes = f"{cfg.model.decode_head.num_classes} classes"
    maps, image = f"{SIDE} x {SIDE}", f"{WIDTH} x {HEIGHT}"
    energy = f"dense energy, {BATCH} images, {classes}, {maps}, forward and backward"
    refinement = f"refinement (PAR), {BATCH} images, {NUM_MAPS} maps, {maps}"
    lattice = f"lattice, {BATCH} images, {classes}, {maps}, built and used once"
    inference = f"inference as with --tta, {image}, {args.amp or 'float32'}"
    calls = [
        (energy, BATCH, energy_call(cfg, device)),
        (refinement, BATCH, refinement_call(cfg, device)),
        (lattice, BATCH, lattice_call(cfg, device)),
        (inference, 1, inference_call(cfg, device, args.amp)),
        (f"dense CRF, {classes}, {image}", 1, crf_call(cfg, device)),
    ]
    rows, lines = [], []
    for what, images, call in calls:
        call()
        times = [time_call(device, call) for _ in range(args.repeats)]
        rows.append(dict(what=what, images=images, seconds=times))
        median, spread = statistics.median(times), (max(times) - min(times)) / 2
        cells = [f"{median * 1e3:.3g} ± {spread * 1e3:.2g}", f"{images / median:.3g}"]
        lines.append([what, *cells])
    where = environment(mmengine, mmseg_fsr, device=device)
    report = dict(config=args.config, environment=where, rows=rows)
    table = markdown_table(["what", "ms", "images/s"], lines)
    write_and_print(args.out, report, table)


if __name__ == "__main__":
    main()
