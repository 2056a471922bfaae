"""Writes one HTML page about a training run.

The page shows the run's curves, the scores of every class, config and environment, and
compares CAM, pseudo label, prediction and truth of the worst validation images. It
needs no network. The tool replaces a page that it wrote earlier.

Example:
    python tools/report.py work_dirs/demo
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import mmseg_fsr

# isort: split
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_fsr.apis import init_model
from mmseg_fsr.checkpoints.supervision import supervision
from mmseg_fsr.cli.arguments import add_cfg_options, positive_int, read_config
from mmseg_fsr.dependencies import check_stack
from mmseg_fsr.evaluation.cam_iou_metric import DEFAULT_BKG_THR, configured_bkg_thr
from mmseg_fsr.export.split_dataset import split_dataset
from mmseg_fsr.report import (
    class_table,
    commands,
    describe_environment,
    describe_run,
    distillation_chart,
    distillation_curves,
    find_checkpoint,
    find_config,
    find_runs,
    gallery_data,
    gallery_note,
    hex_color,
    is_report,
    join_runs,
    label_table,
    last_scores,
    loss_chart,
    loss_curves,
    predict,
    read_environment,
    render_page,
    run_date,
    score_chart,
    score_curves,
    score_table,
    score_tiles,
    share_chart,
    share_curves,
)
from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.utils.class_names import compare_classes
from mmseg_fsr.visualization import IGNORED_COLOR


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dir", type=Path, help="the run's work directory")
    parser.add_argument(
        "--out", type=Path, help="the page to write (default: WORK_DIR/report.html)"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="the weights to predict with (default: what WORK_DIR/last_checkpoint "
        "names)",
    )
    parser.add_argument(
        "--num",
        type=positive_int,
        help="number of images to predict (default: all)",
    )
    parser.add_argument(
        "--gallery",
        type=positive_int,
        default=100,
        help="number of images to show, the worst ones (default: 100)",
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def cam_threshold(cfg: Config) -> float:
    """The background threshold of the config's ``CAMIoUMetric``, else its default."""
    found = configured_bkg_thr(cfg.get("val_evaluator"))
    return DEFAULT_BKG_THR if found is None else found


def write_report(args: argparse.Namespace) -> None:
    """Predicts and writes the page.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file does not hold what it should.
    """
    runs = find_runs(args.work_dir)
    config = find_config(args.work_dir, runs[-1])
    checkpoint = args.checkpoint or find_checkpoint(args.work_dir)
    if not checkpoint.is_file():
        raise FileNotFoundError(f"checkpoint not found: {checkpoint}")
    out = args.out or args.work_dir / "report.html"
    if not out.parent.is_dir():
        raise FileNotFoundError(f"folder of {out} not found: make it first")
    if out.exists() and not is_report(out):
        raise FileExistsError(
            f"{out} exists and is no report: name another file with --out"
        )
    records, runs = join_runs(runs)
    steps = records[-1]["step"]
    environment = read_environment(runs[-1])

    options = {"model.test_cfg.cams": True, **(args.cfg_options or {})}
    cfg = read_config(config, options)
    begun = cfg
    if len(runs) > 1:
        begun = Config.fromfile(find_config(args.work_dir, runs[0]))
    if cfg.get("val_dataloader"):
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
        count = args.num or len(dataset)
    else:
        # Nothing is scored, so only the images that are shown are predicted.
        dataset = DATASETS.build(split_dataset(cfg, "train"))
        count = args.num or args.gallery
    count = min(count, len(dataset))
    model = init_model(cfg, checkpoint)
    known = getattr(model, "dataset_meta", {}).get("classes")
    if known:
        compare_classes(
            dataset.metainfo["classes"], known, "the data set shown", str(checkpoint)
        )
    threshold = cam_threshold(cfg)
    scores, own, images = predict(model, dataset, count, args.gallery, threshold)

    classes = dataset.metainfo["classes"]
    colors = [hex_color(color) for color in dataset.metainfo["palette"]]
    score_history = score_curves(records)
    last_step, last = last_scores(score_history)
    charts = [loss_chart(loss_curves(records)), score_chart(score_history)]
    shares = share_curves(records)
    if shares:
        charts.append(share_chart(shares))
    health = distillation_curves(records)
    if health:
        charts.append(distillation_chart(health))
    stack = check_stack()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    page = render_page(
        title=args.work_dir.resolve().name,
        facts=[config.stem, checkpoint.name, run_date(runs[0]), f"{steps:,} steps"],
        last_step=last_step,
        tiles=score_tiles(last),
        score_table=score_table(last),
        runs=len(runs),
        charts=charts,
        classes=class_table(scores, classes, colors, threshold),
        labels=label_table(own, classes, colors),
        trained_on=not cfg.get("val_dataloader"),
        predicted=count,
        total=len(dataset),
        model=checkpoint.name,
        gallery_note=gallery_note(
            images, count, bool(scores.by_name), has_labels=bool(own.images)
        ),
        ignored_color=hex_color(IGNORED_COLOR),
        run=describe_run(
            cfg,
            args.work_dir,
            checkpoint,
            runs,
            steps,
            environment,
            # Checkpoints of older versions do not tell it.
            model.supervision or supervision(cfg),
        ),
        environment=describe_environment(environment),
        page_environment=[
            *((str(found.distribution), found.version) for found in stack.values()),
            ("mmseg_fsr", mmseg_fsr.__version__),
            ("Device", device),
        ],
        commands=commands(cfg, config, args.work_dir, environment, begun),
        config=config.read_text(encoding="utf-8"),
        config_name=str(config),
        version=mmseg_fsr.__version__,
        date=f"{datetime.now():%Y-%m-%d %H:%M}",
        data=dict(charts=charts, gallery=gallery_data(images, classes, colors)),
    )
    with atomic_write(out, "w") as file:
        file.write(page)
    size = out.stat().st_size / 1e6
    print(f"Wrote {out}: {size:.1f} MB, {len(images)} of {count} images")


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the report, or ends with one line."""
    args = parse_args(argv)
    try:
        write_report(args)
    except FileNotFoundError as error:
        print(f"report.py: error: {error}", file=sys.stderr)
        sys.exit(2)
    except (OSError, ValueError, SyntaxError, ImportError) as error:
        sys.exit(f"report.py: error: {error}")


if __name__ == "__main__":
    main()
