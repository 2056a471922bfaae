"""Pickles that would run code, each by another way into it.

Each creates the folder ``touched`` if Python's own ``pickle`` loads it.
"""

import pickle
from pathlib import Path


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def _short(value: str) -> bytes:
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


class Reduced:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return __import__("os").mkdir, (self.folder,)


class Stateful:
    """Runs code in ``__setstate__``."""

    def __getstate__(self):
        return self.folder

    def __setstate__(self, folder):
        Path(folder).mkdir()


def malicious_pickles(touched: Path) -> dict[str, bytes]:
    """Pickles by the way that they take.

    Args:
        touched: A folder that is not there.

    Returns:
        Whole pickles, from the protocol to the stop.
    """
    folder = str(touched)
    stateful = Stateful()
    stateful.folder = folder
    argument = _text(folder) + b"\x85"
    call = argument + b"R."
    return {
        "reduce": pickle.dumps(Reduced(folder), protocol=2),
        "reduce, protocol 5": pickle.dumps(Reduced(folder), protocol=5),
        "global": b"\x80\x02cos\nmkdir\n" + call,
        "instance": b"(V" + folder.encode() + b"\nios\nmkdir\n.",
        "object": b"(cos\nmkdir\n" + _text(folder) + b"o.",
        # getattr(__import__('os'), 'mkdir')(folder)
        "getattr": b"\x80\x02c__builtin__\ngetattr\nc__builtin__\n__import__\n"
        + _text("os")
        + b"\x85R"
        + _text("mkdir")
        + b"\x86R"
        + call,
        # A name with a dot reaches what a module has imported.
        "nested name": b"\x80\x04"
        + _short("tempfile")
        + _short("_os.mkdir")
        + b"\x93"
        + call,
        "eval": b"\x80\x02c__builtin__\neval\n"
        + _text(f"__import__('os').mkdir({folder!r})")
        + b"\x85R.",
        "new object": b"\x80\x02ctests.test_utils.malicious_pickles\nMaker\n"
        + argument
        + b"\x81.",
        "new object by keywords": b"\x80\x04"
        + _short("tests.test_utils.malicious_pickles")
        + _short("Maker")
        + b"\x93)}"
        + _text("folder")
        + _text(folder)
        + b"s\x92.",
        "state": pickle.dumps(stateful, protocol=2),
        # Makes a class's method another function, and has it called.
        "patched class": b"\x80\x02ctests.test_utils.malicious_pickles\nPatched\n"
        + b"q\x00N}"
        + _text("append")
        + b"cos\nmkdir\ns\x86bh\x00)R"
        + _text(folder)
        + b"a.",
        "items": b"\x80\x02ctests.test_utils.malicious_pickles\nMakingDict\n)R"
        + _text(folder)
        + b"K\x01s.",
        "list items": b"\x80\x02ctests.test_utils.malicious_pickles\nMakingList\n)R"
        + _text(folder)
        + b"a.",
    }


class Maker:
    def __new__(cls, folder):
        Path(folder).mkdir()
        return super().__new__(cls)


class MakingDict(dict):
    def __setitem__(self, folder, value):
        Path(folder).mkdir()


class MakingList:
    def append(self, folder):
        Path(folder).mkdir()


class Patched:
    append = print
