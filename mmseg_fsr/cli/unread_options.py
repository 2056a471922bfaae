"""Settings that have no effect: misspelled keys, and overrides of used-up variables."""

import difflib
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner
from torch.utils.data import DataLoader

from mmseg_fsr.utils.argument_names import argument_names, registered
from mmseg_fsr.utils.first_names import first_names

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
# Others may be read by a segmentor of the user's own.
_TEST_CFG = {"mode", "crop_size", "stride", "cams", "image_level_prior"}
_LOADER = {*argument_names(DataLoader), "num_batch_per_epoch"}


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
    settings = dict(_walk(cfg.to_dict()))
    read = {path: x for path, x in settings.items() if path.split(".")[0] in _READ}
    keys = list(_leaves(options))
    lines = []
    for key in keys:
        first = key.split(".")[0]
        if first in _READ:
            nearest = _nearest_if_misspelled(settings, key, keys)
            if nearest:
                lines.append(_unread(key, nearest))
        elif first in settings:
            holders = _holders(settings, read, key)
            left = [path for path in holders if not _is_overridden(path, keys)]
            if left or not holders:
                lines.append(
                    f"{key}: it was read when the config was made and is not read again"
                    + _hint("override what it went to:", left)
                )
        else:
            lines.append(
                f"{key}: the config has no such key and nothing reads it"
                + _hint("the nearest key is", _nearest_of_all(read, key))
            )
    return lines


def unknown_settings(cfg: Config) -> list[str]:
    """Says which settings of a config nothing knows, as far as names tell.

    A key is told if it nearly has the name of one that its component, the loader or the
    runner reads. Others may be variables, or be read by code of the user's own.

    Args:
        cfg: The config.

    Returns:
        A line for each such key, and for each ``type`` that is in no registry.
    """
    settings = dict(_walk(cfg.to_dict()))
    lines = []
    for key, value in settings.items():
        path, _, name = key.rpartition(".")
        node = settings.get(path)
        if not path:
            # Variables may have any name, those of pipelines have one like another.
            known = {x for x in _READ if "pipeline" not in x}
        # Of a variable, or looked up in another package's registries.
        elif key.split(".")[0] not in _READ or _has_scope(settings, path):
            continue
        elif isinstance(node, Mapping) and "type" in node:
            known = _arguments(node["type"]) or set()
        else:
            known = _without_type(path)
        if name == "type":
            if isinstance(value, str) and registered(value) is None:
                lines.append(f"{key}='{value}': no component is registered as that")
        elif known and name not in known and name[0] != "_":
            for near in difflib.get_close_matches(name, known, 1, 0.8):
                lines.append(_unread(key, f"{path}.{near}" if path else near))
    return lines


def _has_scope(settings: Mapping[str, Any], path: str) -> bool:
    """Whether settings, or what they are in, name a package of their own."""
    nodes = (settings[part] for part in _prefixes(path))
    return any(isinstance(node, Mapping) and "_scope_" in node for node in nodes)


def _unread(key: str, nearest: str) -> str:
    return f"{key}: nothing reads this key; the nearest key is {nearest}"


def _hint(words: str, paths: Sequence[str]) -> str:
    return f"; {words} {first_names(paths, 6)}" if paths else ""


def _leaves(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys, also of what is given as a dict."""
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values at all depths."""
    items = enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in node.items() if isinstance(node, Mapping) else items:
        yield f"{prefix}{key}", value
        yield from _walk(value, f"{prefix}{key}.")


def _prefixes(key: str) -> Iterator[str]:
    """``a``, ``a.b`` and ``a.b.c`` of the key ``a.b.c``."""
    return accumulate(key.split("."), "{}.{}".format)


def _of_name(paths: Collection[str], name: str) -> list[str]:
    return [path for path in paths if path.rpartition(".")[2] == name]


# ---------------------------------------------------------------- misspelled keys


def _nearest_of_all(read: Mapping[str, Any], key: str) -> list[str]:
    """The nearest dotted key, or all keys of the name that is nearest to a name."""
    if "." in key:
        return difflib.get_close_matches(key, read, 1)
    names = {path.rpartition(".")[2] for path in read} | _READ
    nearest = difflib.get_close_matches(key, names, 1, 0.7)
    return nearest if _READ.issuperset(nearest) else _of_name(read, *nearest)


def _nearest_if_misspelled(
    settings: Mapping[str, Any], key: str, keys: Collection[str]
) -> str | None:
    """The nearest key to one that nothing reads; None if it may be read."""
    for added in _prefixes(key):
        # A component that is added or replaced.
        if f"{added}.type" in keys:
            return None
        if added not in settings:
            break
    path, _, name = added.rpartition(".")
    node = settings.get(path)
    if added in settings or not isinstance(node, Mapping) or name == "_delete_":
        return None
    accepted = _accepted(path, node)
    if accepted is None or name in accepted:
        return None
    cutoff = 0 if path in _COMPLETE else 0.8
    nearest = difflib.get_close_matches(name, {*accepted, *node}, 1, cutoff)
    return f"{path}.{nearest[0]}" if nearest else None


def _accepted(path: str, node: Mapping[str, Any]) -> set[str] | None:
    """Names that may be added to settings; None if a component refuses wrong ones."""
    if "type" in node:
        return None if _refuses_others(node["type"]) else _arguments(node["type"])
    return _without_type(path)


def _without_type(path: str) -> set[str]:
    """Names that are read from settings that are no component's; none if not known."""
    if path.endswith("_dataloader"):
        return _LOADER
    return _TEST_CFG if path == "model.test_cfg" else _COMPLETE.get(path, set())


def _class(kind: Any) -> type | None:
    """A component's class; None if it is a function, or not known."""
    kind = registered(kind) if isinstance(kind, str) else kind
    return kind if inspect.isclass(kind) else None


def _arguments(kind: Any) -> set[str] | None:
    """Names of a component's arguments; None if they are not known."""
    found = _class(kind)
    return None if found is None else argument_names(found)


def _refuses_others(kind: Any) -> bool:
    """Whether a component's own constructor has no place for other arguments."""
    if (found := _class(kind)) is None:
        return False
    own = inspect.signature(found.__init__).parameters.values()
    return all(x.kind is not x.VAR_KEYWORD for x in own)


# ------------------------------------------------------------- used-up variables


def _holders(
    settings: Mapping[str, Any], read: Mapping[str, Any], key: str
) -> list[str]:
    """Dotted keys that hold a variable's value, or the part of it, now."""
    for path in _prefixes(key):
        if path not in settings:
            return []
        copies = [x for x, value in read.items() if _is_copy(value, settings[path])]
        if copies and path != key:
            return [copy + key.removeprefix(path) for copy in copies]
    same_name = _of_name(read, key.rpartition(".")[2])
    return list(dict.fromkeys([*same_name, *copies]))


def _is_copy(value: Any, variable: Any) -> bool:
    """Whether a value tells where a variable went: small numbers are everywhere."""
    if type(value) is not type(variable) or value != variable:
        return False
    return abs(value) >= 10 if isinstance(value, int) else bool(value)


def _is_overridden(path: str, keys: Collection[str]) -> bool:
    """Whether keys override a setting, a part of it or what it is in."""
    return any(
        f"{key}.".startswith(f"{path}.") or f"{path}.".startswith(f"{key}.")
        for key in keys
    )
