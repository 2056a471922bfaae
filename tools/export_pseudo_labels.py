r"""Writes the labels that a model gives its training images, as masks.

A second, fully supervised model can be trained on these masks (docs/second_stage.md).

Example:
    python tools/export_pseudo_labels.py configs/fsr/fsr_vit-b_voc.py \
        work_dirs/fsr_vit-b_voc/iter_20000.pth --source seg --crf \
        --out data/VOCdevkit/VOC2012/PseudoLabels
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmseg_fsr.checkpoints import load_checkpoint_file
from mmseg_fsr.cli.arguments import (
    add_common_arguments,
    add_inference_amp,
    exit_with,
    require_file,
    runner_config,
)
from mmseg_fsr.cli.cpu_ranks import prepare_cpu_distributed
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.cli.output_folder import refuse_data_folder
from mmseg_fsr.cli.run_options import (
    enable_tta,
    warn_of_unasked_options,
)
from mmseg_fsr.cli.runner import build_runner
from mmseg_fsr.engine.runner_access import unwrapped_model
from mmseg_fsr.evaluation.cam_iou_metric import configured_bkg_thr
from mmseg_fsr.export.label_maps import SOURCES
from mmseg_fsr.export.label_report import report_table
from mmseg_fsr.export.split_dataset import split_dataset
from mmseg_fsr.utils.config_file import require_keys


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; ends with one line if an argument does not fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config of the training")
    parser.add_argument("checkpoint", help="the checkpoint file, or its address")
    parser.add_argument("--out", required=True, help="folder for the label maps")
    parser.add_argument(
        "--source",
        required=True,
        choices=SOURCES,
        help="cam: seeds, the strongest CAM above a threshold; par: the refined pseudo "
        "label, 255 where undecided; seg: the decoder's strongest class among the "
        "background and the image's classes",
    )
    parser.add_argument(
        "--split",
        default="train",
        help="train, val, or a list of images of the training folder (default: train)",
    )
    parser.add_argument(
        "--bkg-thr",
        type=float,
        help="background threshold of --source cam (default: that of the config's "
        "CAMIoUMetric)",
    )
    parser.add_argument(
        "--crf", action="store_true", help="refine the labels by the config's crf"
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="use the config's test-time augmentation (--source seg only)",
    )
    parser.add_argument(
        "--teacher", action="store_true", help="use the EMA teacher, not the student"
    )
    add_inference_amp(parser)
    parser.add_argument(
        "--masks",
        help="folder of masks to score the label maps with (default: the masks of the "
        "split, if it has any)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="start over: replace the label maps of an earlier export",
    )
    add_common_arguments(parser)
    args = parser.parse_args(argv)
    require_file(parser, "config", args.config)
    require_file(parser, "checkpoint", args.checkpoint)
    if args.bkg_thr is not None and args.source != "cam":
        parser.error("--bkg-thr is for --source cam")
    if args.tta and args.source != "seg":
        parser.error("--tta is for --source seg: CAMs have scales of their own")
    return args


def background_threshold(cfg: Config) -> float:
    """The threshold at which the config scores its CAM seeds.

    Raises:
        ValueError: If it scores no seeds.
    """
    found = configured_bkg_thr(cfg.get("test_evaluator"))
    if found is None:
        raise ValueError(
            f"{cfg.filename} has no CAMIoUMetric in its test_evaluator: give --bkg-thr"
        )
    return found


def prepare_export(cfg: Config, args: argparse.Namespace) -> None:
    """Turns a config's test run into the export.

    Raises:
        ValueError: If the config lacks what an argument needs.
        FileNotFoundError: If a split list is missing.
    """
    if args.crf:
        require_keys(cfg, "--crf", "crf")
    bkg_thr = args.bkg_thr
    if args.source == "cam" and bkg_thr is None:
        bkg_thr = background_threshold(cfg)
    # The tool's own load_checkpoint loads the weights.
    cfg.load_from, cfg.resume = None, False
    # The labels say which classes an image shows, not the classifier.
    cfg.model.setdefault("test_cfg", {}).update(
        cams=args.source != "seg", image_level_prior=False
    )
    if args.tta:
        enable_tta(cfg)
    dataset = split_dataset(cfg, args.split)
    cfg.test_dataloader = dict(cfg.test_dataloader, dataset=dataset)
    cfg.test_cfg = dict(
        type="PseudoLabelExportLoop",
        out=args.out,
        source=args.source,
        checkpoint=args.checkpoint,
        bkg_thr=bkg_thr,
        crf=cfg.crf if args.crf else None,
        masks=args.masks,
        settings=dict(split=args.split, teacher=args.teacher, tta=args.tta),
        overwrite=args.overwrite,
    )
    if args.amp:
        cfg.test_cfg.fp16 = True
        # Labels of another precision are other labels.
        cfg.test_cfg.settings["amp"] = True
    cfg.test_evaluator = []
    cfg.custom_hooks = []
    cfg.setdefault("default_hooks", {}).update(
        checkpoint_guard=dict(type="CheckpointGuardHook"),
        num_class_check=dict(type="NumClassCheckHook"),
        teacher_scoring=dict(
            type="TeacherScoringHook",
            validate="teacher" if args.teacher else "student",
        ),
    )


def load_checkpoint(runner: Runner, filename: str) -> None:
    """Loads the weights, before anything is written.

    Code in the file is not run.

    Raises:
        ValueError: If the file is damaged or does not fit the model.
    """
    tensors, rest = load_checkpoint_file(filename)
    # The hooks refuse a checkpoint that does not fit, also to the loop's data set, for
    # which the loop must be built.
    _ = runner.test_loop
    try:
        runner.call_hook(
            "after_load_checkpoint", checkpoint=dict(rest, state_dict=tensors)
        )
    except ValueError as error:
        raise ValueError(f"{filename}: {error}") from error
    unwrapped_model(runner).load_state_dict(tensors, strict=False)


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Exports, prints what was written, and ends with 1 if images are missing."""
    args = parse_args(argv)
    # The runner writes the config there: the training keeps its own.
    cfg = runner_config(args, subfolder="export")
    warn_of_unasked_options(args)
    refuse_data_folder("--out", args.out, cfg)
    if args.masks and Path(args.out).resolve() == Path(args.masks).resolve():
        raise ValueError(f"--out {args.out} is the folder of --masks: name another")
    prepare_export(cfg, args)
    prepare_cpu_distributed(cfg)
    runner = build_runner(cfg)
    load_checkpoint(runner, args.checkpoint)
    runner.test()
    if not is_main_process():
        return
    loop = runner.test_loop
    print(report_table(loop.report))
    if "scores" in loop.report:
        scores = loop.report["scores"]
        print(
            f"mIoU {scores['mIoU']:.2f} on {scores['images']} images with masks "
            "(undecided pixels are background)"
        )
    print(
        f"{args.out}: {loop.report['labels']} label maps of {len(loop.names)} images, "
        f"{len(loop.names) - len(loop.missing)} of them from before"
    )
    exit_with(loop.problems)


if __name__ == "__main__":
    main()
