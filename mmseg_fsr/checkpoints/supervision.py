"""What supervision goes into a training, as its config says it."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from mmengine.config import Config

# Weights of docs/pretrained_weights.md: what they were trained on, and their licence.
_IMAGENET_1K = "ImageNet-1k labels"
_IMAGENET_21K = "ImageNet-21k and ImageNet-1k labels"
_DINOV2 = ("no labels (142 million images)", "Apache-2.0")
KNOWN_WEIGHTS = {
    "jx_vit_base_p16_224-80ecf9dd.pth": (_IMAGENET_21K, "Apache-2.0"),
    "vit_small_patch16_224.augreg_in21k_ft_in1k.pth": (_IMAGENET_21K, "Apache-2.0"),
    "vit_large_patch16_224.augreg_in21k_ft_in1k.pth": (_IMAGENET_21K, "Apache-2.0"),
    "deit_small_patch16_224-cd65a155.pth": (_IMAGENET_1K, "Apache-2.0"),
    "dinov2_vits14_pretrain.pth": _DINOV2,
    "dinov2_vitb14_pretrain.pth": _DINOV2,
    "vit_base_patch16_clip_quickgelu_224.openai.pth": (
        "captions of 400 million images",
        "MIT",
    ),
    "swin_tiny_patch4_window7_224-160bb0a5.pth": (_IMAGENET_1K, "MIT"),
    "mit_b1_20220624-02e5a6a1.pth": (_IMAGENET_1K, "NVIDIA, not commercial"),
    "convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth": (
        _IMAGENET_1K,
        "MIT",
    ),
    "resnet50-0676ba61.pth": (_IMAGENET_1K, "BSD-3-Clause"),
    "resnet101-63fe2227.pth": (_IMAGENET_1K, "BSD-3-Clause"),
}


def supervision(cfg: Config) -> list[str]:
    """Labels that a training reads, and what its pretrained networks have seen.

    Of a file that is not in docs/pretrained_weights.md, ``supervision`` and ``licence``
    beside its ``checkpoint`` in ``init_cfg`` say it.

    Args:
        cfg: Config of a training.

    Returns:
        A line for each data set of the training, then for each pretrained network.
    """
    lines = [_of_dataset(dataset) for dataset in _datasets(cfg.train_dataloader)]
    lines += [_of_weights(init_cfg) for init_cfg in _pretrained(cfg.model)]
    return list(dict.fromkeys(lines))


def _datasets(settings: Any) -> Iterator[dict]:
    """Data sets of a loader or wrapper, whose own data sets count instead."""
    inner = settings.get("dataset") or settings.get("datasets")
    if inner is None:
        yield settings
        return
    for dataset in inner if isinstance(inner, list | tuple) else [inner]:
        yield from _datasets(dataset)


def _of_dataset(dataset: dict) -> str:
    prefix = dataset.get("data_prefix") or {}
    # mmseg's PackSegInputs alone passes on the masks that were loaded.
    loads_masks = any(
        part.get("type") == "LoadAnnotations"
        for part in _dicts(dataset.get("pipeline"))
    )
    root = dataset.get("data_root") or prefix.get("img_path") or ""
    place = f" in {root}" if root else ""
    if loads_masks:
        return f"{dataset['type']}{place}: masks of {prefix.get('seg_map_path')}"
    return f"{dataset['type']}{place}: image labels"


def _pretrained(model: dict) -> Iterator[dict]:
    for part in _dicts(model):
        init_cfg = part.get("init_cfg")
        if isinstance(init_cfg, dict) and init_cfg.get("type") == "Pretrained":
            yield init_cfg
        elif part.get("pretrained"):
            # timm's networks fetch their weights by name.
            yield dict(checkpoint=f"timm's {part.get('model_name')}")


def _of_weights(init_cfg: dict) -> str:
    checkpoint = str(init_cfg["checkpoint"])
    known = KNOWN_WEIGHTS.get(PurePosixPath(checkpoint).name, (None, None))
    seen = init_cfg.get("supervision", known[0])
    licence = init_cfg.get("licence", known[1])
    if seen is None:
        return f"{checkpoint}: not stated (init_cfg.supervision)"
    return f"{checkpoint}: {seen}{f', licence {licence}' if licence else ''}"


def _dicts(settings: Any) -> Iterator[dict]:
    """All dicts in settings, from the outside in."""
    if isinstance(settings, dict):
        yield settings
        settings = settings.values()
    elif not isinstance(settings, list | tuple):
        return
    for value in settings:
        yield from _dicts(value)
