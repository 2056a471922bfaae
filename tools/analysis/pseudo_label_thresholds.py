r"""Scores pseudo labels of validation images at several pairs of thresholds.

Where thresholds belong depends on the data, on how far the classifiers have come and on
what refines the CAMs. The decoder learns from the decided pixels: compare how many of
them there are, and how many are right. Masks are needed, of a few images.

Example:
    python tools/analysis/pseudo_label_thresholds.py configs/fsr/fsr_r50_voc-mini.py \
        work_dirs/fsr_r50_voc-mini/iter_4000.pth --low 0.25 0.4 --high 0.6 0.7 --num 100
"""

import argparse
import itertools
import sys
from collections.abc import Sequence

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from mmengine.utils import track_iter_progress
from torch.utils.data import Dataset

from mmseg_fsr.analysis.benchmark import markdown_table
from mmseg_fsr.apis import init_model
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    build_val_dataset,
    positive_int,
    read_config,
    require_file,
)
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.evaluation import PseudoLabelIoUMetric
from mmseg_fsr.models.pseudo_labels import present_classes
from mmseg_fsr.models.segmentors import CAMSegmentor, labels_of_sample
from mmseg_fsr.utils.class_names import compare_classes

_PARTS = ("object_recall", "object_precision")
_SCORES = ("mIoU", *_PARTS, *(name.replace("object", "background") for name in _PARTS))


def parse_args() -> argparse.Namespace:
    """Reads the command line; ends with one line if a file is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config file")
    parser.add_argument("checkpoint", help="the trained model")
    parser.add_argument(
        "--low",
        type=float,
        nargs="+",
        help="low_thr; the higher, the more background (default: the config's)",
    )
    parser.add_argument(
        "--high",
        type=float,
        nargs="+",
        help="high_thr; the lower, the more objects (default: the config's)",
    )
    parser.add_argument(
        "--num", type=positive_int, help="number of images (default: all)"
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    require_file(parser, "config", args.config)
    require_file(parser, "checkpoint", args.checkpoint)
    return args


@torch.no_grad()
def score_thresholds(
    model: CAMSegmentor,
    dataset: Dataset,
    number: int,
    pairs: Sequence[tuple[float, float]],
) -> list[dict[str, float]]:
    """Scores of a model's pseudo labels for each pair of thresholds.

    Args:
        model: What :func:`~mmseg_fsr.apis.init_model` gives; its generator is left with
            the last pair.
        dataset: Images with masks.
        number: How many of them count, from the first on.
        pairs: Values of ``low_thr`` and ``high_thr``.

    Returns:
        What :class:`~mmseg_fsr.evaluation.PseudoLabelIoUMetric` gives, in percent.

    Raises:
        ValueError: If an image has no mask.
    """
    generator, metrics = model.pseudo_label_generator, []
    for _ in pairs:
        metrics.append(PseudoLabelIoUMetric())
        metrics[-1].dataset_meta = dataset.metainfo
    for index in track_iter_progress(range(number), file=sys.stderr):
        batch = model.data_preprocessor(pseudo_collate([dataset[index]]), False)
        images, (sample,) = batch["inputs"], batch["data_samples"]
        if "gt_sem_seg" not in sample:
            raise ValueError(
                f"image {sample.img_path} comes without a mask: each image of "
                "val_dataloader needs one here"
            )
        labels = labels_of_sample(sample, model.num_classes)[None]
        classes = present_classes(
            labels, sample.get("num_labels"), sample.get("num_unknown")
        )
        cams = model.cams(images, classes=classes).top
        rgb = model.data_preprocessor.denormalize(images)
        for metric, pair in zip(metrics, pairs, strict=True):
            generator.low_thr, generator.high_thr = pair
            label = generator.pseudo_label(rgb, cams, classes)[:, None]
            label = F.interpolate(label.float(), sample.ori_shape, mode="nearest")
            sample.pseudo_sem_seg = PixelData(data=label[0].long())
            metric.process({}, [sample.to_dict()])
    return [metric.evaluate(number) for metric in metrics]


@one_line_errors(begin="\n")
def main() -> None:
    """Prints the scores of all pairs as a table."""
    args = parse_args()
    cfg = read_config(args.config, args.cfg_options)
    # A table of each pair's classes would hide the one of the pairs.
    MMLogger.get_instance("mmengine", log_level="WARNING").setLevel("WARNING")
    dataset = build_val_dataset(cfg)
    number = min(args.num or len(dataset), len(dataset))
    model = init_model(cfg, args.checkpoint)
    ours, theirs = dataset.metainfo["classes"], model.dataset_meta["classes"]
    compare_classes(ours, theirs, "val_dataloader.dataset", args.checkpoint)
    own = model.pseudo_label_generator
    lows, highs = args.low or [own.low_thr], args.high or [own.high_thr]
    pairs = [x for x in itertools.product(lows, highs) if x[0] <= x[1]]
    if not pairs or not all(0 <= x <= 1 for x in (*lows, *highs)):
        raise ValueError(
            f"--low {lows} and --high {highs}: expected values in 0..1, and a pair "
            "whose lower one is not above the higher"
        )
    scores = score_thresholds(model, dataset, number, pairs)
    head = ["low_thr", "high_thr", *(name.replace("_", " ") for name in _SCORES)]
    rows = [
        [*pair, *(score[f"pseudo_label/{name}"] for name in _SCORES)]
        for pair, score in zip(pairs, scores, strict=True)
    ]
    print(f"\n{number} images, percent:\n\n{markdown_table(head, rows)}")


if __name__ == "__main__":
    main()
