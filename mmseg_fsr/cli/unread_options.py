"""Overrides of a config that have no effect: misspelled keys, and used-up variables."""

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mmseg.registry
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import FlexibleRunner, Runner
from torch.utils.data import DataLoader

# What mmengine's runners, mmseg and the tools take from a config by name.
_READ = {
    *inspect.signature(Runner.__init__).parameters,
    *inspect.signature(FlexibleRunner.__init__).parameters,
    *("activation_checkpointing", "efficient_conv_bn_eval", "find_unused_parameters"),
    *("model_wrapper_cfg", "runner_type", "sync_bn"),
    *("crf", "custom_imports", "tta_model", "tta_pipeline"),
} - {"self", "cfg"}
# Settings without a component: all their keys.
_COMPLETE = {
    "auto_scale_lr": {"enable", "base_batch_size"},
    "env_cfg": {"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"},
    "env_cfg.mp_cfg": {"mp_start_method", "opencv_num_threads"},
    "randomness": {"seed", "diff_rank_seed", "deterministic"},
}
_LOADER = {*inspect.signature(DataLoader.__init__).parameters, "num_batch_per_epoch"}
# How alike a key and a misspelled one are at least.
_ALIKE = 0.8
_SHOWN = 6


def unread_options(cfg: Config, options: Mapping[str, Any]) -> list[str]:
    """Says which overrides of a config nothing will read.

    What is below a component with a ``type`` is its argument. A component that takes
    any argument is only asked whether it has one of nearly that name.

    Args:
        cfg: The config before they are merged.
        options: Values by dotted key.

    Returns:
        A line for each key that was read when the config was made and is not read
        again, with the keys that hold its value now, and for each that looks
        misspelled, with the nearest one.
    """
    settings = cfg.to_dict()
    read = {key: value for key, value in settings.items() if key in _READ}
    options = dict(_leaves(options))
    lines = []
    for key in options:
        first = key.split(".")[0]
        if first in read or (first in _READ and "." not in key):
            nearest = _misspelled(settings, key, options)
            if nearest is not None:
                lines.append(f"{key}: nothing reads this key{nearest}")
        elif first in _READ:
            continue
        elif first in settings:
            lines += _used_up(settings, read, key, options)
        else:
            lines.append(
                f"{key}: the config has no such key and nothing reads it"
                f"{_nearest_of_all(read, key)}"
            )
    return lines


def _leaves(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values, also of what is given as a dict."""
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _children(node: Any) -> dict[str, Any]:
    if isinstance(node, Mapping):
        return {str(key): value for key, value in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return {str(index): value for index, value in enumerate(node)}
    return {}


def _walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values at all depths."""
    for key, value in _children(node).items():
        yield f"{prefix}{key}", value
        yield from _walk(value, f"{prefix}{key}.")


def _nearest(key: str, known: Sequence[str], alike: float) -> str:
    found = difflib.get_close_matches(key, known, 1, alike)
    return f"; the nearest key is {found[0]}" if found else ""


def _nearest_of_all(read: Mapping[str, Any], key: str) -> str:
    """The end of a message, with the nearest dotted key, or all of nearly that name."""
    paths = [path for path, _ in _walk(read)]
    if "." in key:
        return _nearest(key, paths, 0.6)
    names = {path.rpartition(".")[2] for path in paths}
    (name,) = difflib.get_close_matches(key, names | _READ, 1, 0.7) or [None]
    if name is None:
        return ""
    of_name = [name] if name in _READ else _of_name(paths, name)
    return f"; the nearest key is {_listed(of_name)}"


def _of_name(paths: Sequence[str], name: str) -> list[str]:
    return [path for path in paths if path.rpartition(".")[2] == name]


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{', '.join(paths[:_SHOWN])}{more}"


# ---------------------------------------------------------------- misspelled keys


def _misspelled(
    settings: Mapping[str, Any], key: str, options: Mapping[str, Any]
) -> str | None:
    """The end of a message, with the nearest key; None if the key may be read."""
    node: Any = settings
    path = ""
    for name in key.split("."):
        if path and f"{path}.type" in options:
            return None
        children = _children(node)
        if name in children:
            node, path = children[name], f"{path}.{name}".lstrip(".")
            continue
        added = f"{path}.{name}"
        if not (path and isinstance(node, Mapping)) or f"{added}.type" in options:
            return None
        if name == "_delete_":
            return None
        accepted = _accepted(path, node)
        if accepted is None or name in accepted:
            return None
        nearest = _nearest(added, [f"{path}.{x}" for x in accepted | {*node}], 0)
        if path in _COMPLETE or difflib.get_close_matches(
            name, accepted | {*node}, 1, _ALIKE
        ):
            return nearest
        return None
    return None


def _accepted(path: str, node: Mapping[str, Any]) -> set[str] | None:
    """Names that may be added to settings; None if a component refuses wrong ones."""
    if "type" in node:
        return _arguments(node["type"])
    if path.endswith("_dataloader"):
        return _LOADER
    return _COMPLETE.get(path, set())


def _arguments(kind: Any) -> set[str] | None:
    """Names of a component's arguments; None if it refuses others, or is not known."""
    if isinstance(kind, str):
        registries = vars(mmseg.registry).values()
        found = (x.get(kind) for x in registries if isinstance(x, Registry))
        kind = next(filter(None, found), None)
    if not inspect.isclass(kind):
        return None
    names: set[str] = set()
    for owner in kind.__mro__:
        if "__init__" not in vars(owner) or owner is object:
            continue
        parameters = inspect.signature(owner.__init__).parameters.values()
        names |= {x.name for x in parameters if x.kind is not x.VAR_KEYWORD}
        if owner is kind and all(x.kind is not x.VAR_KEYWORD for x in parameters):
            return None
    return names - {"self"}


# ------------------------------------------------------------- used-up variables


def _used_up(
    settings: Mapping[str, Any],
    read: Mapping[str, Any],
    key: str,
    options: Mapping[str, Any],
) -> list[str]:
    """A line about a variable of the config; none if its users are overridden too."""
    holders = _holders(settings, read, key.split("."))
    left = [
        path
        for path in holders
        if not any(f"{x}.".startswith(f"{path}.") for x in options)
        and not any(f"{path}.".startswith(f"{x}.") for x in options)
    ]
    if holders and not left:
        return []
    line = f"{key}: it was read when the config was made and is not read again"
    if left:
        line += f"; override what it went to: {_listed(left)}"
    return [line]


def _holders(
    settings: Mapping[str, Any], read: Mapping[str, Any], parts: Sequence[str]
) -> list[str]:
    """Dotted keys that hold a variable's value, or the part of it, now."""
    node: Any = settings
    for depth, name in enumerate(parts, start=1):
        children = _children(node)
        if name not in children:
            return []
        node = children[name]
        found = [path for path, value in _walk(read) if _is_copy(value, node)]
        if found and depth < len(parts):
            return [".".join([path, *parts[depth:]]) for path in found]
    same_name = _of_name([path for path, _ in _walk(read)], parts[-1])
    return [*same_name, *(path for path in found if path not in same_name)]


def _is_copy(value: Any, variable: Any) -> bool:
    """Whether a value tells where a variable went: small numbers are everywhere."""
    if type(value) is not type(variable) or value != variable:
        return False
    if isinstance(value, bool) or value is None:
        return False
    return abs(value) >= 10 if isinstance(value, int) else bool(value)
