r"""Segments images: masks, painted pictures, and CAMs and probabilities on request.

Example:
    python tools/predict.py configs/fsr/fsr_vit-t_scenes.py \
        work_dirs/demo/iter_540.pth photographs --out predictions
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmengine.config import Config
from mmseg.models.segmentors import BaseSegmentor
from rich.console import Console
from rich.progress import track

from mmseg_fsr.apis import init_model, predict
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_inference_amp,
    exit_with,
    positive_int,
    read_config,
    require_file,
)
from mmseg_fsr.cli.image_arguments import named_images
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.cli.output_folder import refuse_data_folder
from mmseg_fsr.cli.run_options import warn_of_unasked_options
from mmseg_fsr.datasets.label_file import read_label_file
from mmseg_fsr.datasets.voc_coco import voc_palette
from mmseg_fsr.export.label_folder import config_sha256, file_sha256
from mmseg_fsr.export.prediction_folder import PredictionFolder
from mmseg_fsr.version import __version__

_LABEL_SUFFIXES = (".json", ".csv", ".tsv", ".txt")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; ends with one line if a file is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config of the training")
    parser.add_argument("checkpoint", help="the checkpoint file, or its address")
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="images, folders of images, or lists (.txt, the path of an image a line)",
    )
    parser.add_argument("--out", required=True, help="folder for the predictions")
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="NAME",
        help="classes that the images may have: a label file, or names for all images "
        "(default: all classes)",
    )
    parser.add_argument(
        "--cams", action="store_true", help="write class activation maps, too"
    )
    parser.add_argument(
        "--probabilities", action="store_true", help="write probabilities, too"
    )
    parser.add_argument(
        "--tta", action="store_true", help="use the config's test-time augmentation"
    )
    parser.add_argument(
        "--crf", action="store_true", help="refine predictions by the config's crf"
    )
    parser.add_argument(
        "--tile",
        type=positive_int,
        metavar="PIXELS",
        help="cut pictures with a longer side into overlapping tiles of this side "
        "(default: as docs/inference.md says)",
    )
    parser.add_argument(
        "--device", help="where to compute (default: the GPU if there is one)"
    )
    add_inference_amp(parser)
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="start over: replace the predictions of an earlier run",
    )
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    require_file(parser, "config", args.config)
    require_file(parser, "checkpoint", args.checkpoint)
    return args


def allowed_classes(
    given: Sequence[str] | None, names: Sequence[str], classes: Sequence[str]
) -> dict[str, list[str]] | None:
    """The classes that ``--labels`` allows each image, by the image's name.

    Args:
        given: A label file, or names of classes; None allows all.
        names: Names of the images.
        classes: Names of all classes, the background first.

    Raises:
        ValueError: If the file is wrong, or a class is unknown.
        FileNotFoundError: If the file is missing.
    """
    if given is None:
        return None
    if len(given) == 1 and given[0].lower().endswith((*_LABEL_SUFFIXES, ".npy")):
        if not given[0].lower().endswith(_LABEL_SUFFIXES):
            raise ValueError(
                f"--labels {given[0]} names no images: expected a label file that ends "
                f"in {', '.join(_LABEL_SUFFIXES)}"
            )
        # Beside 0 and 1 a file may say that nobody knows: then it may be there.
        rows = read_label_file(given[0], names, classes) != 0
        objects = classes[1:]
        return {
            name: [objects[k] for k in row.nonzero()[0]]
            for name, row in zip(names, rows, strict=True)
        }
    unknown = [name for name in given if name not in classes[1:]]
    if unknown:
        raise ValueError(
            f"--labels: the model does not know {', '.join(unknown)}, but "
            f"{', '.join(classes[1:])}; a label file ends in "
            f"{', '.join(_LABEL_SUFFIXES)}"
        )
    return {name: list(given) for name in names}


def settings_of(args: argparse.Namespace, cfg: Config, model: BaseSegmentor) -> dict:
    """All that predictions depend on, beside the images and their labels."""
    keys = ["model", "test_pipeline", "test_dataloader"]
    keys += ["tta_model", "tta_pipeline"] if args.tta else []
    depends = {key: cfg.get(key) for key in keys}
    if depends["test_dataloader"] is not None:
        depends["test_dataloader"] = depends["test_dataloader"].dataset.get("pipeline")
    return dict(
        tta=args.tta,
        crf=cfg.get("crf") if args.crf else None,
        cams=args.cams,
        probabilities=args.probabilities,
        tile=args.tile,
        amp=args.amp,
        config_sha256=config_sha256(dict(depends, data=model.dataset_meta)),
        checkpoint_sha256=file_sha256(args.checkpoint),
        mmseg_fsr=__version__,
    )


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Predicts, says what was written, and ends with 1 if an image failed."""
    args = parse_args(argv)
    cfg = read_config(args.config, args.cfg_options)
    warn_of_unasked_options(args)
    refuse_data_folder("--out", args.out, cfg)
    images = named_images(args.images, args.out)
    model = init_model(cfg, args.checkpoint, args.device)
    classes = getattr(model, "dataset_meta", {}).get("classes")
    if classes is None:
        raise ValueError(
            "neither the checkpoint nor the config names the classes: set metainfo "
            "of the config's data set"
        )
    allowed = allowed_classes(args.labels, list(images), classes)
    folder = PredictionFolder(
        args.out,
        settings_of(args, cfg, model),
        dict(config=args.config, checkpoint=args.checkpoint, classes=list(classes)),
        classes,
        model.dataset_meta.get("palette") or voc_palette(len(classes)),
    )
    options = dict(tta=args.tta, crf=args.crf, tile=args.tile, amp=args.amp)
    # This checks the options, before anything is written.
    predict(model, [], **options, cams=args.cams)
    todo = folder.begin(images, allowed, args.overwrite)
    predictions = predict(
        model,
        [images[name] for name in todo],
        labels=None if allowed is None else [allowed[name] for name in todo],
        cams=args.cams,
        probabilities=args.probabilities,
        **options,
    )
    problems, tiled = [], 0
    bar = track(
        zip(todo, predictions, strict=True),
        total=len(todo),
        description="predicting",
        console=Console(stderr=True),
    )
    for name, prediction in bar:
        if prediction.problem is not None:
            problems.append(prediction.problem)
            continue
        folder.write(name, prediction)
        tiled += prediction.num_tiles > 1
    folder.complete(dict(problems=problems))
    before = len(images) - len(todo)
    print(
        f"{Path(args.out)}: {len(images) - len(problems)} of {len(images)} images "
        "predicted"
        + (f", {before} of them before" if before else "")
        + (f", {tiled} in tiles" if tiled else "")
    )
    exit_with(problems)


if __name__ == "__main__":
    main()
