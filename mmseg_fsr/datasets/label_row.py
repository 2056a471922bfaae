"""The labels of one image, as a label file gives them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Label = int | str

# How files write whether an image shows a class; pandas makes "1.0" and "nan" of it.
FLAGS: dict[str, bool | None] = {
    **dict.fromkeys(("0", "0.0", "false", "no", "n"), False),
    **dict.fromkeys(("1", "1.0", "true", "yes", "y", "x"), True),
    **dict.fromkeys(("", "-1", "-1.0", "null", "none", "nan"), None),
}


class LabelRow(NamedTuple):
    """Labels of one image, unchecked.

    Attributes:
        shown: Names or ids of the classes that it shows.
        unknown: Those of the classes that nobody looked for. It shows none of the
            others. Defaults to none.
        place: Where a file says so, for errors. Defaults to ''.
        keys: All classes for which a file says yes, no or unknown, where it names each
            of them: no two are to mean one class. Defaults to none.
    """

    shown: Sequence[Label]
    unknown: Sequence[Label] = ()
    place: str = ""
    keys: Sequence[Label] = ()

    @classmethod
    def of_flags(cls, flags: Mapping[Label, bool | None]) -> "LabelRow":
        """Labels of which the image shows those of true and, perhaps, those of None."""
        return cls(
            [label for label, flag in flags.items() if flag],
            [label for label, flag in flags.items() if flag is None],
            keys=tuple(flags),
        )
