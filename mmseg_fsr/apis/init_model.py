"""Building a model and loading its weights."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmseg import apis as mmseg_apis
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import DATASETS

from mmseg_fsr.checkpoints.fit import check_weights
from mmseg_fsr.checkpoints.network_config import check_network
from mmseg_fsr.checkpoints.reading import (
    load_checkpoint_file,
    plain_dataset_meta,
    plain_supervision,
)
from mmseg_fsr.utils.class_names import compare_classes
from mmseg_fsr.utils.config_file import load_config


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    cfg_options: dict | None = None,
) -> BaseSegmentor:
    """Builds a model and loads its weights, as mmseg's function of that name does.

    mmseg's ignores what does not fit; here weights of another model are an error, as is
    a network that differs in another way from the one in the config that the checkpoint
    holds. Nothing in the file is run. Classes, colours and ``pixel_range`` are the
    checkpoint's, else those of the config's data set; a config that has the classes in
    another order is an error.

    Args:
        config: The config or its file.
        checkpoint: Path or URL of the weights. Defaults to None, random ones.
        device: Where the model is to run. Defaults to None, the GPU if there is one.
        cfg_options: Settings that override those of the config. Defaults to None.

    Returns:
        The model in evaluation mode, with ``cfg``, ``supervision``, the lines in which
        the checkpoint says what it was trained on, and, where it is known,
        ``dataset_meta``. The test pipelines of ``cfg`` have its ``pixel_range``.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file cannot be read, or the checkpoint is of another model or
            has its classes in another order than the config's data set.

    Example:
        >>> model = init_model("configs/fsr/fsr_vit-b_voc.py", "fsr_vit-b_voc.pth")
        >>> model.dataset_meta["classes"]
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not isinstance(config, Config):
        config = load_config(config)
    model = mmseg_apis.init_model(config, None, device, cfg_options)
    for split in ("test", "val", "train"):
        loader = model.cfg.get(f"{split}_dataloader")
        if loader is not None:
            dataset = DATASETS.build(dict(loader.dataset, lazy_init=True))
            model.dataset_meta = dataset.metainfo
            break
    model.supervision = []
    if checkpoint is not None:
        _load_weights(model, checkpoint)
    _tell_pixel_range(model)
    return model


def _load_weights(model: BaseSegmentor, checkpoint: str | Path) -> None:
    """Loads weights that fit, and what the checkpoint says of its training."""
    tensors, rest = load_checkpoint_file(checkpoint)
    try:
        check_weights(model.state_dict(), tensors)
        check_network(model.cfg, rest.get("meta"))
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error}") from error
    model.load_state_dict(tensors, strict=False)
    model.supervision = plain_supervision(rest.get("meta"))
    meta = plain_dataset_meta(rest.get("meta"))
    # A palette is of no use without the names of its classes.
    if "classes" not in meta:
        return
    ours = getattr(model, "dataset_meta", {})
    compare_classes(
        ours.get("classes"), meta["classes"], "the config's data set", checkpoint
    )
    # Not every checkpoint tells both.
    for key in ("palette", "pixel_range"):
        if key in ours:
            meta.setdefault(key, ours[key])
    model.dataset_meta = meta


def _tell_pixel_range(model: BaseSegmentor) -> None:
    """Lets mmseg's inference, which knows no data set, scale deep images as it does."""
    pixel_range = getattr(model, "dataset_meta", {}).get("pixel_range")
    if pixel_range is None:
        return
    loader = model.cfg.get("test_dataloader") or {}
    tested = loader.get("dataset", {}).get("pipeline", [])
    for step in (*model.cfg.get("test_pipeline", []), *tested):
        if step["type"] == "ScaleTo8Bit":
            step.setdefault("pixel_range", pixel_range)
