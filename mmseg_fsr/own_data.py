"""A config for images of one's own: what depends on folder, classes and crop size."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmengine.config import Config

from mmseg_fsr.datasets import ImageLabelDataset
from mmseg_fsr.utils.argument_names import argument_names
from mmseg_fsr.utils.first_names import did_you_mean
from mmseg_fsr.utils.nested_dicts import type_name
from mmseg_fsr.utils.pipeline_steps import map_steps, with_image_labels

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def own_data_settings(
    base: Mapping[str, Any],
    *,
    data_root: str,
    classes: Sequence[str],
    crop_size: int | tuple[int, int] | None = None,
    masks: bool = True,
    oversample_thr: float | None = None,
    metainfo: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **dataset: Any,
) -> dict[str, Any]:
    """Settings that follow from folder, classes and crop size, for a config file.

    Args:
        base: The config's ``_base_``: a file of ``_base_/models/``, and a recipe whose
            data set is a folder of images.
        data_root: The folder.
        classes: Names of the K + 1 classes, ``'background'`` first. The heads take
            their numbers from them.
        crop_size: Side of the training views in pixels, or height and width; the size
            of validation and inference as well. Both are multiples of the backbone's
            patches or stride. Masked blocks become the largest that divide them and
            are no larger than the model's. Defaults to None, the recipe's size.
        masks: Whether validation images have masks. Without them validation and tests
            score the classifiers by the label file, and the best checkpoint is that
            of their mAP. Defaults to True.
        oversample_thr: Repeats images of classes that fewer than this share of the
            images show, as mmengine's ``ClassBalancedDataset``: an image of a class of
            share f comes sqrt(oversample_thr / f) times. Defaults to None, all images
            once.
        metainfo: What the data set knows besides its classes: ``palette``,
            ``pixel_range``. Defaults to None.
        settings: All other settings of the config, by key or dotted key. They cannot
            stand in the file itself, where ``model = ...`` replaces what this function
            says of the model. Defaults to None.
        **dataset: Other settings of all three data sets, such as ``img_suffix``; the
            ``label_file`` goes to those without masks. See
            :class:`~mmseg_fsr.datasets.ImageLabelDataset`.

    Returns:
        Top-level settings, to be merged over those of ``base``. What the recipe asks
        of a model, its ``model_settings`` and ``normed_decoder``, is among them.

    Raises:
        TypeError: If ``classes`` is no list of names.
        ValueError: If another argument is unknown or out of range, ``base`` lacks the
            model or the recipe, no block fits ``crop_size``, or the recipe's pipelines
            do not have its size.

    Example:
        >>> _base_ = ["./_base_/models/fsr_r50.py", "./_base_/recipes/small_data.py"]
        >>> from mmseg_fsr.own_data import own_data_settings
        >>> globals().update(
        ...     own_data_settings(
        ...         _base_, data_root="data/pets/", classes=("background", "cat")))
    """
    if not isinstance(classes, list | tuple) or not all(
        isinstance(name, str) for name in classes
    ):
        raise TypeError(
            f"classes={classes!r}: expected names, the background first, such as "
            "('background', 'cat')"
        )
    for key, kind in (("model", "models"), ("train_pipeline", "recipes")):
        if key not in base:
            raise ValueError(
                f"_base_ has no {key}: name a file of _base_/{kind}/ (docs/own_data.md)"
            )
    if "type" not in dataset:
        _require_arguments(dataset)
    dataset.update(
        data_root=data_root, metainfo=dict(metainfo or {}, classes=tuple(classes))
    )
    if oversample_thr is not None and not 0 < oversample_thr <= 1:
        raise ValueError(
            f"oversample_thr={oversample_thr}: expected a share of images in 0..1, or "
            "None"
        )
    derived = {"model": _model_settings(base, len(classes))}
    derived |= {loader: dict(dataset=dict(dataset)) for loader in _LOADERS}
    if masks:
        # Masks say which classes an image has.
        for loader in _LOADERS[1:]:
            derived[loader]["dataset"].pop("label_file", None)
    else:
        _validate_by_labels(derived, base)
    if crop_size is not None:
        _set_crop_size(derived, base, crop_size)
    if oversample_thr is not None:
        inner = Config(dict(train_dataloader=base["train_dataloader"]))
        inner.merge_from_dict(dict(train_dataloader=derived["train_dataloader"]))
        derived["train_dataloader"]["dataset"] = dict(
            _delete_=True,
            type="ClassBalancedDataset",
            oversample_thr=oversample_thr,
            dataset=inner.to_dict()["train_dataloader"]["dataset"],
        )
    merged = Config(derived)
    merged.merge_from_dict(dict(settings or {}))
    return merged.to_dict()


def _require_arguments(names: Iterable[str]) -> None:
    """Refuses names that the data set does not take."""
    known = {*inspect.signature(own_data_settings).parameters} - {"dataset"}
    known |= argument_names(ImageLabelDataset)
    for name in names:
        if name not in known:
            raise ValueError(
                f"own_data_settings has no argument '{name}': "
                f"{did_you_mean(name, known)}What is no setting of the data set goes "
                "into `settings` (docs/own_data.md)"
            )


def _model_settings(base: Mapping[str, Any], num_classes: int) -> dict:
    """Numbers of classes, and what the recipe asks of the model."""
    model = {key: dict(x) for key, x in base.get("model_settings", {}).items()}
    decoder = model.setdefault("decode_head", {})
    former = base["model"]["decode_head"]
    # The paper's decoder is the only one without norm.
    if "normed_decoder" in base and type_name(former) == "LargeFOVHead":
        kept = ("in_channels", "loss_decode")
        decoder.update(base["normed_decoder"], _delete_=True)
        decoder.update({key: former[key] for key in kept})
    decoder["num_classes"] = num_classes
    model.setdefault("cam_head", {})["num_classes"] = num_classes - 1
    return model


def _validate_by_labels(settings: dict, base: Mapping[str, Any]) -> None:
    """Validation and tests without masks: of image labels."""
    pipeline = with_image_labels(base["test_pipeline"])
    train = base["train_dataloader"]["dataset"]
    for loader in _LOADERS[1:]:
        dataset = settings[loader]["dataset"]
        prefix = base[loader]["dataset"]["data_prefix"] | dataset.get("data_prefix", {})
        dataset.setdefault("label_file", train["label_file"])
        dataset["data_prefix"] = dict(_delete_=True, img_path=prefix["img_path"])
        dataset["pipeline"] = pipeline
    settings["test_pipeline"] = pipeline
    settings["tta_pipeline"] = with_image_labels(base["tta_pipeline"])
    settings["val_evaluator"] = [dict(type="ImageLabelMetric")]
    settings["test_evaluator"] = settings["val_evaluator"]
    settings["default_hooks"] = dict(checkpoint=dict(save_best="cls/mAP"))


def _set_crop_size(
    settings: dict, base: Mapping[str, Any], crop_size: int | tuple[int, int]
) -> None:
    """Sets the size of the pipelines and of the masked blocks."""
    size = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
    if (
        not isinstance(size, list | tuple)
        or [type(side) for side in size] != [int, int]
        or min(size) < 1
    ):
        raise ValueError(
            f"crop_size={crop_size!r}: expected pixels, or (height, width) in pixels"
        )
    size = tuple(size)
    former = tuple(base["crop_size"])
    settings["crop_size"] = size
    for key in ("train_pipeline", "test_pipeline"):
        pipeline = settings.get(key, base[key])
        settings[key] = _resized(pipeline, former, size)
        if settings[key] == pipeline and size != former:
            raise ValueError(
                f"crop_size={crop_size}: no step of {key} has the recipe's crop_size "
                f"{former} as its scale; set the scale of the step that resizes"
            )
    for loader in _LOADERS:
        dataset = settings[loader]["dataset"]
        pipeline = dataset.get("pipeline", base[loader]["dataset"]["pipeline"])
        dataset["pipeline"] = _resized(pipeline, former, size)
    backbone, generator = (base["model"].get(k) for k in ("backbone", "mask_generator"))
    # A plain ViT keeps the size of its weights' position embedding, and resizes that.
    if type_name(backbone) == "FSRBackbone":
        settings["model"]["backbone"] = dict(img_size=size)
    if generator is not None:
        block = _block_size(size, generator["block_size"], _pixels_per_cell(backbone))
        settings["model"]["mask_generator"] = dict(block_size=block)


def _resized(
    steps: Sequence[dict], former: tuple[int, int], size: tuple[int, int]
) -> list[dict]:
    """Copies steps with the new size for the former one: (height, width)."""

    def resize(step: dict) -> dict:
        # mmcv's Resize takes width and height, mmpretrain's crops height and width.
        order = -1 if type_name(step) == "Resize" else 1
        if step.get("scale") == former[::order]:
            step["scale"] = size[::order]
        return step

    return map_steps(steps, resize)


def _pixels_per_cell(backbone: Mapping[str, Any]) -> int:
    """Side of a cell of the final map: a ViT's patch, else the usual stride."""
    inner = backbone.get("backbone", backbone)
    return inner.get("patch_size", 16)


def _block_size(size: tuple[int, int], largest: int, cell: int) -> int:
    """The largest block that divides the size and consists of whole cells."""
    for block in range(largest - largest % cell, 0, -cell):
        if not size[0] % block and not size[1] % block:
            return block
    near = [tuple(side // cell * cell + more for side in size) for more in (0, cell)]
    raise ValueError(
        f"crop_size={size}: expected multiples of {cell}, the pixels per cell of the "
        f"backbone, such as {near[0]} or {near[1]}"
    )
