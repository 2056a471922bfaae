"""Names of the arguments that a component takes, which are the keys of its settings."""

import inspect
from collections.abc import Iterator
from typing import Any

import mmseg.registry
from mmengine.registry import Registry

_REGISTRIES = [x for x in vars(mmseg.registry).values() if isinstance(x, Registry)]


def registered(name: str) -> Any:
    """What the first of mmseg's registries that knows a name has, None if none has."""
    return next(filter(None, (x.get(name) for x in _REGISTRIES)), None)


def all_registered() -> Iterator[type]:
    """All classes of mmseg's registries, and of those of mmengine that they look in."""
    for registry in _REGISTRIES:
        for each in filter(None, (registry, registry.parent)):
            yield from filter(inspect.isclass, each.module_dict.values())


def argument_names(kind: type) -> set[str]:
    """Names of the arguments with which a class can be made.

    Args:
        kind: A class. Where it passes ``**kwargs`` on, its bases' arguments count.

    Example:
        >>> from mmseg_fsr.datasets import ImageLabelDataset
        >>> {"label_file", "data_root"} <= argument_names(ImageLabelDataset)
        True
    """
    names: set[str] = set()
    for base in kind.__mro__:
        parameters = inspect.signature(base.__init__).parameters
        names.update(parameters)
        if all(x.kind is not x.VAR_KEYWORD for x in parameters.values()):
            break
    return names - {"self", "args", "kwargs"}
