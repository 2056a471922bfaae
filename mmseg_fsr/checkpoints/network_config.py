"""Whether a config describes the network whose weights a checkpoint holds.

Much of a network leaves no trace in the shapes of its tensors: where a ResNet's blocks
have their stride, what its norms and activations are, how its images are normalised.
"""

import functools
import inspect
import logging
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.registry import MODELS

from mmseg_fsr.utils.first_names import first_names
from mmseg_fsr.utils.nested_dicts import type_name

from .config_text import read_config_text

# Where a published checkpoint keeps it in its `meta`.
NETWORK_KEY = "network"

# What concerns training alone, or how a network is tested, by the key of a setting.
# Any other key is compared.
_LEFT_OUT = {
    *("train_cfg", "test_cfg", "ignore_index", "sampler", "_scope_"),
    # Where weights begin, and which of them learn.
    *("init_cfg", "pretrained", "checkpoint_path", "frozen_stages", "norm_eval"),
    *("requires_grad", "teacher"),
    # How a step computes the same.
    *("with_cp", "inplace", "reuse_features", "non_blocking"),
    # Parts that only losses, masks and pseudo labels use.
    *("affinity_head", "auxiliary_head", "distill_head", "mask_generator"),
    *("pseudo_label_generator", "cam_source"),
    # ViTs resize the position embedding to it, while loading.
    "img_size",
}
_LEFT_OUT_PATTERN = re.compile(r"loss.*|(.*_)?drop(out|path)?(_.*)?")
# Classes that compute the same when they predict.
_ALIKE = {
    **dict.fromkeys(("SyncBN", "MMSyncBN", "BN2d"), "BN"),
    "MultiViewSegDataPreProcessor": "SegDataPreProcessor",
}
# How a data preprocessor pads the images of training.
_PADDING = ("batch_augments", "size", "size_divisor", "pad_val", "seg_pad_val")
_NOT_SET = object()
# The largest number of settings in a message.
_SHOWN = 20


class Difference(NamedTuple):
    """A setting of which config and checkpoint have different values.

    Attributes:
        key: The setting by its dotted key, such as ``model.backbone.style``.
        ours: The config's value.
        theirs: The checkpoint's.
    """

    key: str
    ours: Any
    theirs: Any


def network_config(model: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model that decide what its network computes.

    Args:
        model: Config of a segmentor, or of a model of test-time augmentation around it.

    Returns:
        The settings of its parts without those of training alone, as JSON has them.
    """
    while isinstance(model.get("module"), Mapping):
        model = model["module"]
    parts = _plain({key: value for key, value in model.items() if key != "type"})
    if isinstance(parts.get("data_preprocessor"), dict):
        for key in _PADDING:
            parts["data_preprocessor"].pop(key, None)
    heads = parts.get("decode_head")
    for head in heads if isinstance(heads, list) else [heads]:
        if isinstance(head, dict):
            _drop_default_outputs(head)
    return {key: value for key, value in parts.items() if value is not None}


def stored_network_config(meta: object) -> dict[str, Any] | None:
    """The settings of the network whose weights a checkpoint holds.

    Args:
        meta: That entry of a checkpoint, of any kind. A checkpoint of training has the
            text of its config there, which is read as data. A published one has the
            settings.

    Returns:
        As :func:`network_config`; None if the checkpoint has none.

    Raises:
        ValueError: If the text cannot be read as a config.
    """
    if not isinstance(meta, dict):
        return None
    network, text = meta.get(NETWORK_KEY), meta.get("cfg")
    if isinstance(network, dict):
        return network_config(network)
    if not isinstance(text, str):
        return None
    return _of_config(read_config_text(text, ("model", "data_preprocessor")))


def network_differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> list[Difference]:
    """Settings in which two networks differ.

    A setting that one of them leaves out has the default of its class. A head that one
    of them lacks is no difference: the other parts compute the same without it.

    Args:
        ours: What :func:`network_config` gives of the config. Its classes are known.
        theirs: The same of the checkpoint, from which no class is looked up.

    Example:
        >>> ours, theirs = (
        ...     dict(backbone=dict(type="ResNet", depth=50, style=style))
        ...     for style in ("pytorch", "caffe")
        ... )
        >>> network_differences(ours, theirs)
        [Difference(key='model.backbone.style', ours='pytorch', theirs='caffe')]
    """
    of_one = {part for part in ours.keys() ^ theirs.keys() if part.endswith("_head")}
    return [
        difference
        for part in sorted((ours.keys() | theirs.keys()) - of_one)
        for difference in _compare(
            ours.get(part, _NOT_SET), theirs.get(part, _NOT_SET), f"model.{part}"
        )
    ]


def check_network(
    cfg: Config, meta: object, training: bool = False, resumed: bool = False
) -> None:
    """Refuses to predict by another network than that of a checkpoint.

    A training may want another one: a warning says how it differs. A checkpoint that
    holds no config passes, which the log says.

    Args:
        cfg: The config of the model.
        meta: That entry of the checkpoint, of any kind.
        training: Whether the model is to be trained from the weights; else it predicts.
            Defaults to False.
        resumed: Whether training goes on where it stopped. Defaults to False.

    Raises:
        ValueError: If settings differ; the message has each of them, and what to do.
    """
    unchecked = "only the shapes of its tensors are compared with the config's network"
    try:
        theirs = stored_network_config(meta)
    except ValueError as error:
        text = f"the checkpoint's config cannot be read as data, {error}: {unchecked}"
        print_log(text, "current", logging.WARNING)
        return
    if theirs is None:
        print_log(f"the checkpoint holds no config: {unchecked}", "current")
        return
    ours = _of_config(cfg)
    found = [] if ours is None else network_differences(ours, theirs)
    if not found:
        return
    lines = [
        f"\n  {key}: {_shown(theirs)} in the checkpoint, {_shown(ours)} in the config"
        for key, ours, theirs in found
    ]
    listed = first_names(lines, _SHOWN, separator="")
    if not training:
        raise ValueError(
            "the checkpoint's weights belong to another network, although the shapes "
            f"are the same:{listed}\n{_remedy(cfg, found)} (docs/checkpoints.md)"
        )
    begin = "goes on with" if resumed else "trains"
    print_log(
        f"the run {begin} another network than the checkpoint's:{listed}\n"
        "The config's values hold",
        "current",
        logging.WARNING,
    )


def _of_config(cfg: Mapping[str, Any]) -> dict[str, Any] | None:
    """The network of a whole config, with what mmengine's runner adds to its model."""
    model, preprocessor = (cfg.get(key) for key in ("model", "data_preprocessor"))
    if not isinstance(model, Mapping):
        return None
    beside = network_config(dict(data_preprocessor=preprocessor))
    return beside | network_config(model)


def _plain(value: Any) -> Any:
    """A value as JSON has it, without the keys that are left out."""
    if isinstance(value, Mapping):
        return {
            str(key): _plain(part)
            for key, part in value.items()
            if str(key) not in _LEFT_OUT and not _LEFT_OUT_PATTERN.fullmatch(str(key))
        }
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, type):
        return f"{value.__module__}.{value.__name__}"
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else str(value)


def _drop_default_outputs(head: dict[str, Any]) -> None:
    """Leaves out of a decode head what mmseg's ``BaseDecodeHead`` would set."""
    if head.get("out_channels") in (None, head.get("num_classes")):
        head.pop("out_channels", None)
    # It makes a class of one output alone.
    if head.get("out_channels") != 1 or head.get("threshold") in (None, 0.3):
        head.pop("threshold", None)


def _compare(ours: Any, theirs: Any, key: str) -> Iterator[Difference]:
    """Differences of two values, in their innermost settings."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        kinds = [type_name(part) for part in (ours, theirs)]
        if len({_ALIKE.get(kind, kind) for kind in kinds}) > 1:
            # The settings of two classes have not the same meaning.
            yield Difference(f"{key}.type", *kinds)
            return
        for name in sorted((ours.keys() | theirs.keys()) - {"type"}):
            default = _NOT_SET
            if not (name in ours and name in theirs):
                default = _default(ours.get("type"), name)
            values = (part.get(name, default) for part in (ours, theirs))
            yield from _compare(*values, f"{key}.{name}")
    elif _are_lists_of_parts(ours, theirs):
        for index, values in enumerate(zip(ours, theirs, strict=True)):
            yield from _compare(*values, f"{key}.{index}")
    elif ours != theirs:
        yield Difference(key, ours, theirs)


def _are_lists_of_parts(ours: Any, theirs: Any) -> bool:
    """Whether both are lists of as many values, with dicts among them."""
    if not (isinstance(ours, list) and isinstance(theirs, list)):
        return False
    return len(ours) == len(theirs) and any(isinstance(x, dict) for x in ours)


@functools.cache
def _default(kind: str | None, name: str) -> Any:
    """A setting's default in a class of the registry, or in one that it is made of."""
    found = MODELS.get(kind) if kind else None
    for part in inspect.getmro(found) if inspect.isclass(found) else (found,):
        if part in (None, object):
            break
        try:
            parameter = inspect.signature(part).parameters.get(name)
        # Some classes in C tell no signature.
        except ValueError:
            continue
        if parameter and parameter.default is not inspect.Parameter.empty:
            return _plain(parameter.default)
    return _NOT_SET


def _shown(value: Any) -> str:
    text = "not set" if value is _NOT_SET else repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _remedy(cfg: Config, differences: list[Difference]) -> str:
    """What makes the config's network that of the checkpoint."""
    advice = "Take the config that it was trained with"
    cannot = any(x.theirs is _NOT_SET or x.key.endswith(".type") for x in differences)
    if cannot or len(differences) > _SHOWN:
        return advice
    options = [
        shlex.quote(option) for x in differences for option in _options(x.key, x.theirs)
    ]
    # A config's text has its variables as {{$NAME:default}}.
    read = dict(re.findall(r"\{\{\s*\$(\w+)\s*:\s*(\S*?)\s*\}\}", cfg.text))
    variables = [
        shlex.quote(f"{name}={x.theirs}")
        for x in differences
        for name, default in read.items()
        if isinstance(x.theirs, str) and os.environ.get(name, default) == x.ours
    ]
    advice += f", or give --cfg-options {' '.join(options)}"
    if variables:
        advice += f", or set {' '.join(variables)} in the environment"
    return advice


def _options(key: str, value: Any) -> Iterator[str]:
    """Arguments that give a setting its value."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _options(f"{key}.{name}", part)
    else:
        yield f"{key}={_as_option(value)}"


def _as_option(value: Any) -> str:
    """A value as mmengine's ``DictAction`` reads it."""
    if isinstance(value, list):
        return f"[{','.join(map(_as_option, value))}]"
    return str(value)
