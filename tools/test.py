"""Scores a checkpoint: the arguments are those of mmseg's ``test.py``."""

import argparse
from collections import Counter
from pathlib import Path

import mmseg_fsr

# isort: split
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

import mmseg_fsr.checkpoints.runner_loaders  # noqa: F401  (mmengine then loads checkpoints as data)
from mmseg_fsr.cli.arguments import (
    add_common_arguments,
    add_inference_amp,
    add_overwrite,
    require_file,
    runner_config,
)
from mmseg_fsr.cli.cpu_ranks import prepare_cpu_distributed
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.cli.output_folder import (
    mark_folder,
    metric_folders,
    refuse_data_folder,
    require_own_folder,
)
from mmseg_fsr.cli.run_options import (
    enable_crf,
    enable_tta,
    leave_cam_metrics_out,
    warn_of_unasked_options,
)
from mmseg_fsr.cli.runner import build_runner
from mmseg_fsr.evaluation.cam_iou_metric import configured_metrics
from mmseg_fsr.utils.config_file import require_keys

TOOL = "tools/test.py"


def parse_args() -> argparse.Namespace:
    """Reads the command line; ends with one line if a file is missing."""
    parser = argparse.ArgumentParser(description="Test a segmentor")
    parser.add_argument("config", help="the config file")
    parser.add_argument("checkpoint", help="the checkpoint file, or its address")
    parser.add_argument("--out", help="folder to write the predicted label maps to")
    parser.add_argument(
        "--show", action="store_true", help="show predictions in a window"
    )
    parser.add_argument("--show-dir", help="folder to write painted predictions to")
    parser.add_argument(
        "--wait-time", type=float, default=2, help="seconds that each window stays"
    )
    parser.add_argument(
        "--tta", action="store_true", help="use the config's test-time augmentation"
    )
    parser.add_argument(
        "--cams",
        action="store_true",
        help="score CAMs and pseudo labels under --tta, too, from the same passes",
    )
    parser.add_argument(
        "--crf", action="store_true", help="refine predictions by the config's DenseCRF"
    )
    add_inference_amp(parser)
    add_overwrite(parser)
    add_common_arguments(parser)
    args = parser.parse_args()
    require_file(parser, "config", args.config)
    require_file(parser, "checkpoint", args.checkpoint)
    if args.cams and not args.tta:
        parser.error("--cams is for --tta: without it CAMs are scored anyway")
    return args


def output_folders(args: argparse.Namespace, cfg: Config) -> list[str]:
    """The folders that arguments and metrics name for label maps and pictures.

    Raises:
        ValueError: If one holds images or masks of the config.
        OSError: If one holds other files, without ``--overwrite``.
    """
    named = {"--out": args.out, "--show-dir": args.show_dir}
    named = {argument: folder for argument, folder in named.items() if folder}
    if args.out is None:
        named |= metric_folders(cfg, "test_evaluator")
    for argument, folder in named.items():
        refuse_data_folder(argument, folder, cfg)
        require_own_folder(argument, folder, TOOL, args.overwrite)
    return list(named.values())


def enable_drawing(cfg: Config, args: argparse.Namespace) -> None:
    """Switches the visualization hook on, for windows, files or both."""
    argument = "--show" if args.show else "--show-dir"
    require_keys(cfg, argument, "visualizer")
    hook = cfg.get("default_hooks", {}).get("visualization")
    if hook is None:
        raise ValueError(
            f"{argument} needs default_hooks.visualization in the config {cfg.filename}"
        )
    hook.draw = True
    if args.show:
        hook.show = True
        hook.wait_time = args.wait_time
    if args.show_dir:
        cfg.visualizer.save_dir = args.show_dir


def write_predictions(cfg: Config, folder: str) -> None:
    """Makes the segmentation's metric write its label maps to the folder.

    Metrics derived from ``IoUMetric`` are left out: they score seeds and pseudo labels.
    """
    writers = [
        metric
        for metric in configured_metrics(cfg.test_evaluator)
        if METRICS.get(metric["type"]) is IoUMetric
    ]
    if not writers:
        raise ValueError("--out needs an IoUMetric in the config's test_evaluator")
    # The metric creates the folder in the first process only, and another process may
    # write first.
    Path(folder).mkdir(parents=True, exist_ok=True)
    for metric in writers:
        metric["output_dir"] = folder


def refuse_repeated_names(dataset: BaseSegDataset) -> None:
    """Refuses images of one name in several folders: they would share a label map."""
    names = Counter(
        Path(dataset.get_data_info(index)["img_path"]).stem
        for index in range(len(dataset))
    )
    name, count = names.most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"--out writes {name}.png for {count} images of that name in different "
            "folders: tools/export_pseudo_labels.py --source seg keeps the folders"
        )


@one_line_errors()
def main() -> None:
    """Builds the runner from the config and the arguments, and runs it."""
    args = parse_args()
    cfg = runner_config(args)
    warn_of_unasked_options(args)
    folders = output_folders(args, cfg)
    if args.show or args.show_dir:
        enable_drawing(cfg, args)
    leave_cam_metrics_out(cfg, "test_evaluator")
    if args.tta:
        enable_tta(cfg, args.cams)
    if args.out is not None:
        write_predictions(cfg, args.out)
    if args.crf:
        enable_crf(cfg)
    cfg.load_from = args.checkpoint
    # The config that a resumed training has dumped says True.
    cfg.resume = False
    if args.amp:
        cfg.test_cfg.fp16 = True
    prepare_cpu_distributed(cfg)
    runner = build_runner(cfg)
    if args.out is not None:
        refuse_repeated_names(runner.test_loop.dataloader.dataset)
    for folder in folders:
        mark_folder(folder, TOOL)
    runner.test()


if __name__ == "__main__":
    main()
