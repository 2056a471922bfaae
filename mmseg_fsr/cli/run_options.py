"""What arguments of a testing tool change in a config."""

from mmengine.config import Config


def require_keys(cfg: Config, argument: str, *keys: str) -> None:
    """Refuses an argument that the config is not made for.

    Args:
        cfg: The config.
        argument: The argument, for the message.
        *keys: What it needs in the config.

    Raises:
        ValueError: Naming what the config lacks.
    """
    missing = [key for key in keys if cfg.get(key) is None]
    if missing:
        raise ValueError(
            f"{argument} needs {', '.join(missing)} in the config {cfg.filename}"
        )


def enable_tta(cfg: Config) -> None:
    """Tests on augmented versions of each image, as the config says how.

    Args:
        cfg: The config, with ``tta_model`` and ``tta_pipeline``. Changed in place: the
            first gets the model as its ``module`` and takes its place, the second that
            of the test data set's pipeline.

    Raises:
        ValueError: If the config lacks one of them or ``test_dataloader``.
    """
    require_keys(cfg, "--tta", "tta_model", "tta_pipeline", "test_dataloader")
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model


def enable_crf(cfg: Config) -> None:
    """Refines the tested predictions by the dense CRF that the config names.

    Args:
        cfg: The config, with ``crf`` and metrics as ``test_evaluator``. Changed in
            place: the latter becomes a ``DenseCRFEvaluator`` of the same metrics.

    Raises:
        ValueError: If the config names no CRF, or has an evaluator of its own.
    """
    require_keys(cfg, "--crf", "crf", "test_evaluator")
    if "metrics" in cfg.test_evaluator:
        raise ValueError(
            "--crf takes the place of mmengine's Evaluator, but test_evaluator in the "
            f"config {cfg.filename} is of type "
            f"{cfg.test_evaluator.get('type', 'Evaluator')}"
        )
    cfg.test_evaluator = dict(
        type="DenseCRFEvaluator", metrics=cfg.test_evaluator, crf=cfg.crf
    )
