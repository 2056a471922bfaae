"""Objects that a checkpoint may hold beside tensors and plain values.

``torch.load(weights_only=True)`` builds only objects of allowed classes. NumPy's own
classes would take a state from the file that may point anywhere in memory. mmengine's
``HistoryBuffer`` would put functions of the file into a table of the whole process. So
other classes stand in for them while a file is read, and build them afterwards.
"""

import argparse
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from torch import Tensor

_PLAIN = (str, bytes, bytearray, bool, int, float, complex, type(None))
_OF_TORCH = (torch.dtype, torch.device, torch.Size)
_NUMBERS = "biufc"
# The functions that OneCycleLR's state names.
_ANNEALING = ("_annealing_cos", "_annealing_linear")


class UnknownObjectError(Exception):
    """A file holds an object that is not allowed; the message names it."""


class _StandIn:
    """Keeps what an object of the file is to be built from."""

    args: tuple
    state: Any = None

    def __new__(cls, *args: Any) -> "_StandIn":
        stand_in = super().__new__(cls)
        stand_in.args = args
        return stand_in

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def build(self) -> Any:
        raise UnknownObjectError(f"{type(self).__module__}.{type(self).__name__}")


def _named(path: str, kind: type[_StandIn]) -> type[_StandIn]:
    """A subclass with the name that a file uses; torch 2.5 takes no pair of both."""
    module, _, name = path.rpartition(".")
    return type(name, (kind,), dict(__module__=module))


# The states of arrays and of OneCycleLR refer to these classes.
_CLASSES = (
    "numpy.ndarray",
    f"{OneCycleParamScheduler.__module__}.{OneCycleParamScheduler.__name__}",
)
_STAND_INS = [_named(path, _StandIn) for path in _CLASSES]


def _stands_for(*paths: str) -> Callable[[type[_StandIn]], type[_StandIn]]:
    """Allows the objects of these full names, built by the decorated class."""

    def register(kind: type[_StandIn]) -> type[_StandIn]:
        _STAND_INS.extend(_named(path, kind) for path in paths)
        return kind

    return register


@_stands_for("mmengine.logging.history_buffer.HistoryBuffer")
class _HistoryBuffer(_StandIn):
    def build(self) -> HistoryBuffer:
        # The state has its methods as well, which are those of the class.
        keys = ("_log_history", "_count_history", "max_length")
        return HistoryBuffer(*(build_objects(self.state[key]) for key in keys))


@_stands_for("builtins.getattr")
class _Method(_StandIn):
    """HistoryBuffer's state has methods, too, which are not built."""

    def build(self) -> Callable:
        owner, name = self.args
        if owner.__name__ != OneCycleParamScheduler.__name__ or name not in _ANNEALING:
            raise UnknownObjectError("builtins.getattr")
        return getattr(OneCycleParamScheduler, name)


@_stands_for("argparse.Namespace")
class _Namespace(_StandIn):
    def build(self) -> argparse.Namespace:
        return argparse.Namespace(**build_objects(self.state or {}))


@_stands_for("builtins.bytes")
class _EmptyBytes(_StandIn):
    def build(self) -> bytes:
        if self.args:
            raise UnknownObjectError("builtins.bytes with arguments")
        return b""


@_stands_for("numpy.dtype")
class _DType(_StandIn):
    def build(self) -> np.dtype:
        dtype = np.dtype(self.args[0])
        if dtype.kind not in _NUMBERS:
            raise UnknownObjectError(f"numpy.dtype of {dtype}")
        order = self.state[1]
        return dtype if order == "|" else dtype.newbyteorder(order)


# NumPy 2 renamed its core.
@_stands_for("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
class _Scalar(_StandIn):
    def build(self) -> np.generic:
        dtype, content = map(build_objects, self.args)
        return np.frombuffer(content, dtype)[0]


@_stands_for(
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"
)
class _Array(_StandIn):
    def build(self) -> np.ndarray:
        _, shape, dtype, by_columns, content = self.state
        array = np.frombuffer(build_objects(content), build_objects(dtype))
        return array.reshape(shape, order="F" if by_columns else "C").copy()


@contextlib.contextmanager
def only_allowed_objects() -> Iterator[None]:
    """Has ``torch.load(weights_only=True)`` know the objects of this file alone.

    What the process has allowed by ``torch.serialization.add_safe_globals`` does not
    count meanwhile.
    """
    # Those registered by HistoryBuffer.register_statistics are in its state, too.
    methods = HistoryBuffer._statistics_methods.values()
    own = [_named(f"{x.__module__}.{x.__qualname__}", _StandIn) for x in methods]
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        # Newer torch allows the first two by itself.
        with torch.serialization.safe_globals([set, complex, *_STAND_INS, *own]):
            yield
    finally:
        torch.serialization.add_safe_globals(others)


def build_objects(value: Any) -> Any:
    """Builds the objects of what was read under :func:`only_allowed_objects`.

    Args:
        value: What ``torch.load`` gave.

    Returns:
        The same of plain values, containers, tensors, NumPy's numbers, arrays and
        dtypes, ``HistoryBuffer``, ``argparse.Namespace`` and the annealing of
        ``OneCycleLR`` alone. Ordered dicts become dicts, parameters tensors.

    Raises:
        UnknownObjectError: If there is anything else.
        Exception: Of any kind, if an object's description is damaged.
    """
    if isinstance(value, _StandIn):
        return value.build()
    if isinstance(value, Tensor):
        return _plain_tensor(value)
    if isinstance(value, dict):
        # Its items by the class: a file can give an ordered dict attributes.
        items = {build_objects(k): build_objects(v) for k, v in dict.items(value)}
        return Counter(items) if isinstance(value, Counter) else items
    if type(value) in (list, tuple, set):
        return type(value)(map(build_objects, value))
    if isinstance(value, _PLAIN + _OF_TORCH):
        return value
    named = value if hasattr(value, "__qualname__") else type(value)
    raise UnknownObjectError(f"{named.__module__}.{named.__qualname__}")


def _plain_tensor(tensor: Tensor) -> Tensor:
    """The tensor without gradient, attributes or class of its own."""
    if tensor.layout != torch.strided or tensor.is_quantized or not tensor.is_cpu:
        raise UnknownObjectError(
            f"a tensor that is {tensor.layout}, {tensor.dtype} and on {tensor.device}"
        )
    return Tensor.detach(tensor)
