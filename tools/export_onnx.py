r"""Writes a trained model as an ONNX file that ONNX Runtime runs without this package.

Pictures go in as RGB, uint8, (N, H, W, 3), of any size; labels of that size come out.
The file is kept if its labels equal PyTorch's on pictures of the config's test data.

Example:
    python tools/export_onnx.py configs/fsr/fsr_vit-t_scenes.py \
        work_dirs/demo/iter_540.pth scenes.onnx
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmengine.logging import print_log

from mmseg_fsr.apis import init_model
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_overwrite,
    positive_int,
    read_config,
    require_file,
    require_new,
)
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.export.onnx_comparison import Comparison
from mmseg_fsr.export.onnx_graph import OPSET, OUTPUTS
from mmseg_fsr.export.onnx_model import data_set_pictures, export_onnx, import_onnx


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; ends with one line if an argument does not fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config of the training")
    parser.add_argument("checkpoint", help="the checkpoint file, or its address")
    parser.add_argument("out", type=Path, help="the file to write, name.onnx")
    parser.add_argument(
        "--output",
        choices=OUTPUTS,
        default="labels",
        help="labels: class ids; logits: a score for each class (default: labels)",
    )
    parser.add_argument(
        "--size",
        nargs=2,
        type=positive_int,
        metavar=("H", "W"),
        help="height and width of all pictures (default: any size)",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="FILE",
        help="pictures to compare PyTorch and ONNX Runtime on (default: four of the "
        "config's test data set)",
    )
    add_overwrite(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    require_file(parser, "config", args.config)
    require_file(parser, "checkpoint", args.checkpoint)
    if args.out.suffix != ".onnx":
        parser.error(f"{args.out}: expected a name that ends in .onnx")
    return args


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons, one a line."""
    width = max(len(x.picture) for x in comparisons)
    lines = [
        f"{'picture':<{width}}  {'height x width':>16}  equal pixels  PyTorch  "
        "ONNX Runtime"
    ]
    for x in comparisons:
        size = f"{x.pictures} x " * (x.pictures > 1) + f"{x.size[0]} x {x.size[1]}"
        lines.append(
            f"{x.picture:<{width}}  {size:>16}  {x.equal:>12.3%}  "
            f"{1e3 * x.torch_seconds:>4.0f} ms  {1e3 * x.onnx_seconds:>9.0f} ms"
        )
    return "\n".join(lines)


@one_line_errors(ImportError)
def main(argv: Sequence[str] | None = None) -> None:
    """Exports, compares, and prints what was found and written."""
    args = parse_args(argv)
    import_onnx()
    read = [args.config, args.checkpoint, *(args.images or [])]
    require_new(args.out, args.overwrite, read)
    cfg = read_config(args.config, args.cfg_options)
    model = init_model(cfg, args.checkpoint, device="cpu")
    images = args.images or data_set_pictures(model)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    size = tuple(args.size) if args.size else None
    comparisons = export_onnx(model, args.out, images, args.output, size)
    print(table(comparisons))
    if max(x.labels for x in comparisons) == 1:
        print_log(
            "PyTorch gives all pixels of a picture one label: the comparison says "
            "little; name pictures that show objects by --images",
            "current",
            logging.WARNING,
        )
    if model.test_cfg.mode == "slide":
        print_log(
            f"the config tests in windows of {model.test_cfg.crop_size}; the file "
            "segments a picture whole, as it is given: cut it into windows yourself",
            "current",
            logging.WARNING,
        )
    pixel_range = model.dataset_meta.get("pixel_range")
    if pixel_range is not None:
        print_log(
            f"the file takes pictures of 8 bits: scale deeper ones by "
            f"pixel_range={tuple(pixel_range)} (docs/deployment.md)",
            "current",
            logging.WARNING,
        )
    area = "any size" if size is None else f"{size[0]} x {size[1]}"
    print(
        f"wrote {args.out}: {args.out.stat().st_size / 1e6:.1f} MB, opset {OPSET}, "
        f"{args.output} of {len(model.dataset_meta['classes'])} classes, {area}"
    )


if __name__ == "__main__":
    main()
