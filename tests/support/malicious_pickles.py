"""Pickles that run code, each by another way into it."""

import pickle
from pathlib import Path


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


class Reduced:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return __import__("os").mkdir, (self.folder,)


class Making:
    """Makes a folder whatever a pickle does with it."""

    def __new__(cls, folder=None):
        if folder is not None:
            Path(folder).mkdir()
        return super().__new__(cls)

    def __setstate__(self, folder):
        Path(folder).mkdir()

    def __setitem__(self, folder, value):
        Path(folder).mkdir()

    def append(self, folder):
        Path(folder).mkdir()


def malicious_pickles(touched: Path) -> dict[str, bytes]:
    """Pickles by the way that they take, from the protocol to the stop.

    Args:
        touched: A folder that is not there; Python's own ``pickle`` would make it.
    """
    folder = str(touched)
    text = _text(folder)
    making = f"c{__name__}\nMaking\n".encode()
    getattr_ = b"c__builtin__\ngetattr\n"
    return {
        "call": b"\x80\x02cos\nmkdir\n" + text + b"\x85R.",
        "call, protocol 4": pickle.dumps(Reduced(folder), protocol=4),
        # A name with a dot reaches what a module has imported.
        "nested name": b"\x80\x04\x8c\x08tempfile\x8c\x09_os.mkdir\x93"
        + text
        + b"\x85R.",
        "instance": b"(V" + folder.encode() + b"\nios\nmkdir\n.",
        "object": b"(cos\nmkdir\n" + text + b"o.",
        "new object": b"\x80\x02" + making + text + b"\x85\x81.",
        "new object by keywords": b"\x80\x04"
        + making
        + b")}"
        + _text("folder")
        + text
        + b"s\x92.",
        "state": b"\x80\x02" + making + b")R" + text + b"b.",
        "items": b"\x80\x02" + making + b")R" + text + b"K\x01s.",
        "list items": b"\x80\x02" + making + b")R" + text + b"a.",
        "getattr": b"\x80\x02"
        + getattr_
        + b"c__builtin__\n__import__\n"
        + _text("os")
        + b"\x85R"
        + _text("mkdir")
        + b"\x86R"
        + text
        + b"\x85R.",
        "eval": b"\x80\x02c__builtin__\neval\n"
        + _text(f"__import__('os').mkdir({folder!r})")
        + b"\x85R.",
    }
