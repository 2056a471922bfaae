"""Writes one HTML page about a training run.

It holds the run's curves, the scores of every class, the worst validation images with
CAM, pseudo label, prediction and truth to compare, config and environment; it needs no
network. A page that this tool wrote earlier is replaced.

Example:
    python tools/report.py work_dirs/demo
"""

import argparse
import pickle
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import mmseg_fsr

# isort: split
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint
from mmengine.utils import track_iter_progress
from mmseg.apis import init_model
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.engine.command_line import add_cfg_options
from mmseg_fsr.engine.hooks.checkpoint_guard_hook import check_weights
from mmseg_fsr.evaluation.cam_iou_metric import DEFAULT_BKG_THR, configured_bkg_thr
from mmseg_fsr.label_ids import BACKGROUND, IGNORE_INDEX
from mmseg_fsr.report import (
    ClassScores,
    WorstImages,
    cam_uri,
    find_checkpoint,
    find_config,
    find_runs,
    hex_color,
    is_report,
    join_runs,
    label_uri,
    last_scores,
    loss_chart,
    loss_curves,
    photo_uri,
    read_environment,
    render_page,
    run_date,
    score_chart,
    score_curves,
    score_table,
    score_tiles,
)
from mmseg_fsr.stack import check_stack
from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.visualization import IGNORED_COLOR

# What can be laid over an image, in the order of the page.
LAYERS = {
    "photo": "Image",
    "cams": "CAM",
    "pseudo_label": "Pseudo label",
    "prediction": "Prediction",
    "truth": "Truth",
}
# How the columns of scores call what they score.
SCORED = {
    "prediction": "Prediction",
    "pseudo_label": "Pseudo label",
    "cams": "CAM seeds",
}
# Longer sides of the pictures in the page; CAMs are smooth, and enlarged again there.
LONGEST, LONGEST_CAM = 400, 160


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line."""
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
        "--num", type=positive, help="number of images to predict (default: all)"
    )
    parser.add_argument(
        "--gallery",
        type=positive,
        default=100,
        help="number of images to show, the worst ones (default: 100)",
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def load_model(cfg: Config, checkpoint: Path) -> nn.Module:
    """The trained model, on the GPU if there is one.

    Raises:
        ValueError: If the checkpoint cannot be read or is of another model.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = init_model(cfg, None, device)
    try:
        loaded = load_checkpoint(model, str(checkpoint), map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"checkpoint {checkpoint} cannot be read: name another with --checkpoint "
            f"({reason})"
        ) from error
    check_weights(model.state_dict(), loaded.get("state_dict", loaded))
    return model


def cam_threshold(cfg: Config) -> float:
    """The background threshold at which the config's validation scores CAM seeds."""
    found = configured_bkg_thr(cfg.get("val_evaluator"))
    return DEFAULT_BKG_THR if found is None else found


def scored_labels(sample: SegDataSample, threshold: float) -> dict[str, Tensor]:
    """Label maps (H, W) to score, of those that the model gives.

    CAM seeds and undecided pseudo labels count as the metrics of
    :mod:`mmseg_fsr.evaluation` count them.
    """
    labels = {"prediction": sample.pred_sem_seg.data[0]}
    if "pseudo_sem_seg" in sample:
        pseudo_label = sample.pseudo_sem_seg.data[0]
        labels["pseudo_label"] = pseudo_label.masked_fill(
            pseudo_label == IGNORE_INDEX, BACKGROUND
        )
    if "cams" in sample:
        value, index = sample.cams.data.max(0)
        labels["cams"] = torch.where(value > threshold, index + 1, BACKGROUND)
    return labels


def draw_layers(
    sample: SegDataSample, palette: Sequence[Sequence[int]], clear: int | None
) -> dict[str, str]:
    """Pictures to lay over the image, those that the sample has, as data URIs."""
    layers = {}
    if "cams" in sample:
        cams = sample.cams.data.float().numpy()
        layers["cams"] = cam_uri(cams, palette, LONGEST_CAM)
    for name, field in (
        ("pseudo_label", "pseudo_sem_seg"),
        ("prediction", "pred_sem_seg"),
        ("truth", "gt_sem_seg"),
    ):
        if field in sample:
            label = sample.get(field).data[0].numpy()
            layers[name] = label_uri(label, palette, LONGEST, clear)
    return layers


def describe_image(
    sample: SegDataSample,
    scores: ClassScores,
    palette: Sequence[Sequence[int]],
    clear: int | None,
) -> dict:
    """An image as the page's script takes it."""
    height, width = sample.pred_sem_seg.data.shape[-2:]
    if scores.by_name:
        present = scores.present("prediction")
    else:
        present = sample.pred_sem_seg.data.unique().tolist()
    return dict(
        name=Path(sample.img_path).stem,
        width=width,
        height=height,
        photo=photo_uri(read_image(sample.img_path), LONGEST),
        layers=draw_layers(sample, palette, clear),
        iou={name: scores.mean(name) for name in scores.by_name},
        classes=[
            dict(id=i, iou={name: scores.iou(name)[i] for name in scores.by_name})
            for i in present
        ],
    )


@torch.no_grad()
def predict(
    model: nn.Module, dataset: Dataset, count: int, shown: int, threshold: float
) -> tuple[ClassScores, list[dict]]:
    """Predicts the first images.

    Returns:
        The scores of all together, and what the page shows of the worst.
    """
    classes, palette = dataset.metainfo["classes"], dataset.metainfo["palette"]
    clear = BACKGROUND if classes[BACKGROUND] == "background" else None
    total, worst = ClassScores(len(classes)), WorstImages(shown)
    print(f"Predicting {count} of {len(dataset)} validation images", flush=True)
    # Its default is what stdout was when mmengine was imported: not the terminal.
    for index in track_iter_progress(list(range(count)), file=sys.stdout):
        (sample,) = model.val_step(pseudo_collate([dataset[index]]))
        sample = sample.cpu()
        scores = ClassScores(len(classes))
        if "gt_sem_seg" in sample:
            for name, label in scored_labels(sample, threshold).items():
                scores.add(name, label, sample.gt_sem_seg.data[0])
        total.include(scores)
        worst.add(
            scores.mean("prediction") if scores.by_name else None,
            lambda: describe_image(sample, scores, palette, clear),  # noqa: B023
        )
    return total, worst.sorted()


def class_table(
    scores: ClassScores, classes: Sequence[str], colors: Sequence[str], threshold: float
) -> dict:
    """The page's table of classes; no rows without any truth."""
    names = [name for name in SCORED if name in scores.by_name]
    notes = []
    if "cams" in names:
        notes.append(f"CAM seeds are the CAMs above {threshold:g}.")
    if "pseudo_label" in names:
        notes.append("A pseudo label's undecided pixels count as background.")
    if names:
        notes.append("Images are those whose truth shows the class.")
    iou = {name: scores.iou(name) for name in names}
    return dict(
        columns=[SCORED[name] for name in names],
        notes=notes,
        mean=[scores.mean(name) for name in names],
        rows=[
            dict(
                name=title,
                color=colors[i],
                iou=[iou[name][i] for name in names],
                images=int(scores.images[i]),
            )
            for i, title in enumerate(classes)
            if names
        ],
    )


def gallery_data(
    images: list[dict], classes: Sequence[str], colors: Sequence[str]
) -> dict:
    """The page's images, and what can be laid over them."""
    there = {"photo"}.union(*(image["layers"] for image in images))
    right = "truth" if "truth" in there else "photo"
    return dict(
        images=images,
        classes=[
            dict(name=name, color=color, background=name == "background")
            for name, color in zip(classes, colors, strict=True)
        ],
        layers=[
            dict(key=key, title=title) for key, title in LAYERS.items() if key in there
        ],
        scored=[dict(key=key, title=title) for key, title in SCORED.items()],
        left="prediction",
        right=right,
    )


def gallery_note(images: list[dict], predicted: int, scored: bool) -> str:
    """What the images of the page are."""
    if not scored:
        return (
            f"{len(images)} of {predicted} predicted images, in the order of the data "
            "set: without masks there is nothing to score."
        )
    which = f"The {len(images)} worst of {predicted}"
    if len(images) == predicted:
        which = f"All {predicted}"
    return (
        f"{which} predicted images, worst first. An "
        "image's IoU is the mean over the classes that its truth or prediction shows; "
        "pixels that truth marks as not scored (255) do not count. Drag the handle, or "
        "move it with the arrow keys."
    )


def device_name() -> str:
    """The GPU's name, or that there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def commands(cfg: Config, config: Path, work_dir: Path, environment: dict) -> str:
    """Command lines that train and report anew."""
    again = str(work_dir.with_name(f"{work_dir.name}_again"))
    if cfg.get("launcher", "none") == "none":
        train = ["python", "tools/train.py", str(config)]
    else:
        processes = environment.get("GPU number", "1")
        train = ["tools/dist_train.sh", str(config), processes]
    report = ["python", "tools/report.py", again]
    return "\n".join(map(shlex.join, ([*train, "--work-dir", again], report)))


def describe_run(
    cfg: Config,
    args: argparse.Namespace,
    runs: list[Path],
    steps: int,
    environment: dict[str, str],
) -> list[tuple[str, str]]:
    """Rows about the run."""
    randomness = cfg.get("randomness", {})
    rows = [
        ("Work directory", args.work_dir),
        ("Checkpoint", args.checkpoint.name),
        ("Model", cfg.model.type),
        ("Begun", ", resumed ".join(map(run_date, runs))),
        ("Steps logged", f"{steps:,}"),
        # Where the config has none, the log has the one that was drawn.
        ("Seed", environment.get("seed", randomness.get("seed"))),
        ("Deterministic", randomness.get("deterministic", False)),
        ("Processes", environment.get("GPU number", "unknown")),
    ]
    return [(name, str(value)) for name, value in rows]


def describe_environment(environment: dict[str, str]) -> list[tuple[str, str]]:
    """Rows about the machine that trained."""
    elsewhere = ("seed", "GPU number", "CUDA available")
    rows = [item for item in environment.items() if item[0] not in elsewhere]
    if environment.get("CUDA available") == "False":
        rows.append(("Device", "CPU"))
    return rows


def write_report(args: argparse.Namespace) -> None:
    """Predicts and writes the page.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file does not hold what it should.
    """
    runs = find_runs(args.work_dir)
    config = find_config(args.work_dir, runs[-1])
    args.checkpoint = args.checkpoint or find_checkpoint(args.work_dir)
    if not args.checkpoint.is_file():
        raise FileNotFoundError(f"checkpoint not found: {args.checkpoint}")
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

    cfg = Config.fromfile(config)
    cfg.merge_from_dict({"model.test_cfg.cams": True, **(args.cfg_options or {})})
    if not cfg.get("val_dataloader"):
        raise ValueError(
            f"{config} has no val_dataloader: give the images to predict with "
            "--cfg-options val_dataloader.dataset...."
        )
    register_all_modules()
    model = load_model(cfg, args.checkpoint)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    count = len(dataset) if args.num is None else min(args.num, len(dataset))
    threshold = cam_threshold(cfg)
    scores, images = predict(model, dataset, count, args.gallery, threshold)

    classes = dataset.metainfo["classes"]
    colors = [hex_color(color) for color in dataset.metainfo["palette"]]
    score_history = score_curves(records)
    last_step, last = last_scores(score_history)
    charts = [loss_chart(loss_curves(records)), score_chart(score_history)]
    stack = check_stack()
    page = render_page(
        title=args.work_dir.resolve().name,
        facts=[
            config.stem,
            args.checkpoint.name,
            run_date(runs[0]),
            f"{steps:,} steps",
        ],
        last_step=last_step,
        tiles=score_tiles(last),
        score_table=score_table(last),
        runs=len(runs),
        charts=charts,
        classes=class_table(scores, classes, colors, threshold),
        predicted=count,
        total=len(dataset),
        model=args.checkpoint.name,
        gallery_note=gallery_note(images, count, bool(scores.by_name)),
        ignored_color=hex_color(IGNORED_COLOR),
        run=describe_run(cfg, args, runs, steps, environment),
        environment=describe_environment(environment),
        page_environment=[
            *((str(found.distribution), found.version) for found in stack.values()),
            ("mmseg_fsr", mmseg_fsr.__version__),
            ("Device", device_name()),
        ],
        commands=commands(cfg, config, args.work_dir, environment),
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
