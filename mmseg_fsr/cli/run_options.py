"""Changes of a config that arguments of the tools ask for."""

import argparse
import inspect
import logging

from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.registry import METRICS

from mmseg_fsr.evaluation import (
    CAMIoUMetric,
    ImageLabelMetric,
    PseudoLabelIoUMetric,
)
from mmseg_fsr.evaluation.cam_iou_metric import configured_metrics
from mmseg_fsr.utils.config_file import require_keys

# Metrics of what CAMSegmentor.add_cams gives.
CAM_METRICS = (CAMIoUMetric, ImageLabelMetric, PseudoLabelIoUMetric)


def warn_of_unasked_options(args: argparse.Namespace) -> None:
    """Warns of settings of DenseCRF and augmentation that are changed but not used.

    Args:
        args: Arguments with ``cfg_options``, ``crf`` and ``tta``.
    """
    for key in args.cfg_options or {}:
        argument = key.split("_")[0].split(".")[0]
        if argument in ("crf", "tta") and not getattr(args, argument):
            print_log(
                f"option {key}: without --{argument} nothing reads this key",
                "current",
                logging.WARNING,
            )


def enable_tta(cfg: Config, cams: bool = False) -> None:
    """Switches test-time augmentation on, as the config describes it.

    ``tta_model`` becomes the model, around the former one, and ``tta_pipeline`` the
    pipeline of the test data.

    Args:
        cfg: The config, which is changed.
        cams: Whether CAMs are wanted. Without them their metrics are left out of the
            ``test_evaluator``. Defaults to False.

    Raises:
        ValueError: If the config lacks one of them or ``test_dataloader``, or CAMs are
            wanted of a ``tta_model`` that merges segmentations alone or of a model that
            makes none.
    """
    require_keys(cfg, "--tta", "tta_model", "tta_pipeline", "test_dataloader")
    if cams and cfg.tta_model.type != "FSRTTAModel":
        raise ValueError(
            f"--cams: tta_model.type='{cfg.tta_model.type}' merges segmentations "
            "alone: expected 'FSRTTAModel'"
        )
    if cams and not _makes_cams(cfg):
        raise ValueError("--cams: the config makes none: set model.test_cfg.cams=True")
    if not cams and _makes_cams(cfg):
        cfg.model.test_cfg.cams = False
        leave_cam_metrics_out(cfg, "test_evaluator")
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model


def leave_cam_metrics_out(cfg: Config, key: str) -> None:
    """Takes metrics of CAMs out of a config whose model makes none, and says so.

    Args:
        cfg: The config, which is changed.
        key: ``"val_evaluator"`` or ``"test_evaluator"``.
    """
    evaluator = cfg.get(key)
    metrics = configured_metrics(evaluator)
    kept = [metric for metric in metrics if not _scores_cams(metric)]
    if _makes_cams(cfg) or len(kept) == len(metrics):
        return
    names = [
        getattr(m["type"], "__name__", m["type"]) for m in metrics if m not in kept
    ]
    print_log(
        f"No CAMs are made: {key} scores without {', '.join(names)}"
        + ("" if kept else ", which is all that it has"),
        "current",
        logging.INFO if kept else logging.WARNING,
    )
    if isinstance(evaluator, dict) and "metrics" in evaluator:
        evaluator.metrics = kept
    else:
        cfg[key] = kept


def _makes_cams(cfg: Config) -> bool:
    """Whether the model's prediction gives CAMs."""
    return bool((cfg.model.get("test_cfg") or {}).get("cams"))


def _scores_cams(metric: dict) -> bool:
    """Whether a metric is of CAMs; one of an unknown type is the runner's to refuse."""
    kind = metric.get("type")
    kind = METRICS.get(kind) if isinstance(kind, str) else kind
    return inspect.isclass(kind) and issubclass(kind, CAM_METRICS)


def enable_crf(cfg: Config) -> None:
    """Refines tested predictions by the dense CRF that the config describes.

    ``test_evaluator`` becomes a ``DenseCRFEvaluator`` of the same metrics.

    Raises:
        ValueError: If the config lacks ``crf`` or ``test_evaluator``, or has an
            evaluator of another type.
    """
    require_keys(cfg, "--crf", "crf", "test_evaluator")
    evaluator = cfg.test_evaluator
    kind = evaluator.get("type") if "metrics" in evaluator else None
    if kind not in (None, "Evaluator", "DenseCRFEvaluator"):
        raise ValueError(
            "--crf replaces mmengine's Evaluator, but test_evaluator in the config "
            f"{cfg.filename} is of type {kind}"
        )
    metrics = configured_metrics(evaluator)
    cfg.test_evaluator = dict(type="DenseCRFEvaluator", metrics=metrics, crf=cfg.crf)
