"""Objects of a checkpoint built anew from what a pickle says of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer
from torch import Tensor

from .inert_pickle import InertObject, PersistentId


class UnknownObjectError(Exception):
    """An object of a pickle is of none of the types that checkpoints consist of."""


def build_plain(value: Any, as_tensor: Callable[[Any], Tensor | None]) -> Any:
    """Builds what mmengine's checkpoints consist of, by constructors named here.

    These are tensors, plain containers, numbers and strings, NumPy's arrays and
    numbers, and mmengine's ``HistoryBuffer``, its logged values.

    Args:
        value: As :func:`~mmseg_fsr.utils.inert_pickle.load_inert` reads it.
        as_tensor: What turns a part of it into a tensor, or None if it is none.

    Returns:
        The same with objects in the place of their descriptions.

    Raises:
        UnknownObjectError: If an object is of another type; the message names it.
        Exception: Of any kind, if the description is damaged.
    """

    def build(part: Any) -> Any:
        tensor = as_tensor(part)
        if tensor is not None:
            return tensor
        if isinstance(part, dict):
            return {build(key): build(item) for key, item in part.items()}
        if type(part) in (list, tuple, set, frozenset):
            return type(part)(map(build, part))
        if isinstance(part, InertObject):
            if part.qualname not in _BUILDERS:
                raise UnknownObjectError(part.qualname)
            return _BUILDERS[part.qualname](part, build)
        if isinstance(part, type | PersistentId):
            raise UnknownObjectError(getattr(part, "qualname", type(part).__name__))
        return part

    return build(value)


Build = Callable[[Any], Any]


def _history_buffer(part: InertObject, build: Build) -> HistoryBuffer:
    # Its state also has its methods, which are the class's own.
    keys = ("_log_history", "_count_history", "max_length")
    return HistoryBuffer(*(build(part.state[key]) for key in keys))


def _bytes(part: InertObject, build: Build) -> bytes:
    # Before protocol 3 a pickle writes bytes as text that is to be encoded.
    text, encoding = part.args or ("", "latin1")
    if encoding != "latin1":
        raise UnknownObjectError(f"bytes in {encoding}")
    return text.encode("latin1")


def _dtype(part: InertObject, build: Build) -> np.dtype:
    dtype = np.dtype(part.args[0])
    if dtype.kind not in "biufc":
        raise UnknownObjectError(f"array of {dtype}")
    order = part.state[1]
    return dtype if order == "|" else dtype.newbyteorder(order)


def _number(part: InertObject, build: Build) -> np.generic:
    dtype, content = map(build, part.args)
    return np.frombuffer(content, dtype)[0]


def _array(part: InertObject, build: Build) -> np.ndarray:
    _, shape, dtype, by_columns, content = part.state
    array = np.frombuffer(build(content), build(dtype))
    return array.reshape(shape, order="F" if by_columns else "C").copy()


def _set(part: InertObject, build: Build) -> set:
    return set(build(part.args[0])) if part.args else set()


_BUILDERS: dict[str, Callable[[InertObject, Build], Any]] = {
    "mmengine.logging.history_buffer.HistoryBuffer": _history_buffer,
    "_codecs.encode": _bytes,
    "__builtin__.bytes": _bytes,
    "__builtin__.set": _set,
    "builtins.set": _set,
    "numpy.dtype": _dtype,
    # NumPy 2 renamed its core.
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
}
