"""Reading a pickle as data: what it names is neither imported nor built."""

import pickle
from typing import Any, BinaryIO, NamedTuple, NoReturn


class PersistentId(NamedTuple):
    """What a pickle says about an object that is stored outside of it.

    Attributes:
        value: The id, plain values and :class:`InertObject` alone.
    """

    value: Any


class InertObject:
    """An object of a pickle: what it was to be built by, and from what.

    Whatever the pickle does with it, from calling it to giving it items, is taken and
    forgotten.

    Attributes:
        qualname: Class or function by the name in the file, such as
            ``torch._utils._rebuild_tensor_v2``.
        args: Arguments that it was to be built with.
        state: State that it was to be given, None without any.
    """

    qualname: str
    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "InertObject":
        """Keeps the arguments."""
        inert = super().__new__(cls)
        inert.args = args
        return inert

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "InertObject":
        """Takes the place of what a call of the object would give."""
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Takes an item of a list."""

    def extend(self, values: Any) -> None:
        """Takes items of a list."""

    def add(self, value: Any) -> None:
        """Takes an item of a set."""


# The class in Python, not the one in C: only its steps can be replaced one by one.
class _InertUnpickler(pickle._Unpickler):
    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> type:
        # Instead of the import: the one way in which a pickle reaches code.
        qualname = f"{module}.{name}"
        if qualname == "collections.OrderedDict":
            return dict
        # A class of its own: classes without arguments must tell themselves apart.
        return type("InertObject", (InertObject,), dict(qualname=qualname))

    def persistent_load(self, pid: Any) -> PersistentId:
        return PersistentId(pid)

    def get_extension(self, code: int) -> NoReturn:
        # Codes stand for objects of a table of this process, past find_class.
        raise pickle.UnpicklingError(f"extension code {code}")

    def load_build(self) -> None:
        # Calls no __setstate__, and keeps the state apart from all other attributes.
        state = self.stack.pop()
        if isinstance(self.stack[-1], InertObject):
            self.stack[-1].state = state

    dispatch[pickle.BUILD[0]] = load_build


def load_inert(file: BinaryIO) -> Any:
    """Reads a pickle of which nothing is executed.

    A pickle is a program: it imports objects by name, calls them and changes them.
    Here every import gives a new :class:`InertObject` class instead, but for
    ``OrderedDict``, which becomes ``dict``; calls make instances of these; a state is
    kept as data, changes of attributes are left out. So nothing but this file's two
    classes and Python's plain containers, numbers and strings can be in reach of the
    pickle, whatever it holds. It may still take much memory or time.

    Args:
        file: Open at the pickle's start.

    Returns:
        Plain containers, numbers and strings; :class:`InertObject` instances and
        classes, and :class:`PersistentId`, in the place of anything else.

    Raises:
        Exception: Of any kind, if the pickle is damaged.
    """
    return _InertUnpickler(file, encoding="utf-8").load()
