"""What supervision goes into a training, as its config says it."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from mmengine.config import Config

from mmseg_fsr.utils.nested_dicts import inner_datasets, nested_dicts, type_name

# What the files of docs/pretrained_weights.md were trained on, and their licence. They
# are known by name, so that another file is never said to be one of these.
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


# What packs images without their masks.
_IMAGE_LABEL_PACKERS = ("PackMultiViewSegInputs", "PackImageLabelSegInputs")


def supervision(cfg: Config) -> list[str]:
    """Labels that a training reads, and what its pretrained networks have seen.

    Of weights that are not on docs/pretrained_weights.md, ``pretrained_weights`` of the
    config says it: ``{'own.pth': dict(supervision='masks', licence='MIT')}``.

    Args:
        cfg: Config of a training.

    Returns:
        A line for each data set of the training, then for each pretrained network.

    Raises:
        ValueError: If ``pretrained_weights`` has another form.
    """
    lines = [_of_dataset(dataset) for dataset in inner_datasets(cfg.train_dataloader)]
    lines += [weights_line(cfg, name) for name in _pretrained(cfg.model)]
    return list(dict.fromkeys(lines))


def weights_line(cfg: Config, name: str) -> str:
    """What weights were trained on, as far as it is known.

    Args:
        cfg: Config of a training.
        name: Their path, address or name.

    Raises:
        ValueError: If the config's ``pretrained_weights`` has another form.
    """
    said = cfg.get("pretrained_weights") or {}
    file = PurePosixPath(name.partition("?")[0].replace("\\", "/")).name
    own = said.get(name, said.get(file, {}))
    if not isinstance(own, dict) or own.keys() - {"supervision", "licence"}:
        raise ValueError(
            f"pretrained_weights of the config has {own!r} for '{file}': expected "
            "dict(supervision='...', licence='...')"
        )
    seen, licence = KNOWN_WEIGHTS.get(file, (None, None))
    found = dict(supervision=seen, licence=licence) | own
    line = f"{name}: {found['supervision'] or 'not stated'}"
    return f"{line}, licence {found['licence']}" if found["licence"] else line


def _of_dataset(dataset: dict) -> str:
    prefix = dataset.get("data_prefix") or {}
    root = dataset.get("data_root") or prefix.get("img_path") or ""
    name = f"{type_name(dataset)} in {root}" if root else type_name(dataset)
    steps = {type_name(step) for step in nested_dicts(dataset.get("pipeline"))}
    packs_labels = not steps.isdisjoint(_IMAGE_LABEL_PACKERS)
    if packs_labels and not any("Annotation" in step for step in steps):
        return f"{name}: image labels"
    return f"{name}: label maps of {prefix.get('seg_map_path', 'the data set')}"


def _pretrained(model: dict) -> Iterator[str]:
    """Paths, addresses or names of the weights that networks begin with."""
    for part in nested_dicts(model):
        named = part.get("pretrained") or part.get("checkpoint_path")
        if type_name(part) in ("Pretrained", "PretrainedInit"):
            yield str(part.get("checkpoint"))
        elif isinstance(named, str):
            yield named
        elif named:
            # timm fetches these by name.
            yield str(part.get("model_name"))
