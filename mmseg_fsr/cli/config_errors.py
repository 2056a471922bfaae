"""Errors of MMEngine about a config: a component or an argument that is not known."""

import re

from torch.utils.data import DataLoader

from mmseg_fsr.utils.argument_names import all_registered, argument_names
from mmseg_fsr.utils.first_names import did_you_mean

_UNKNOWN_TYPE = re.compile(r"'(\S+) is not in the (.+?) registry\.")
_UNKNOWN_ARGUMENT = re.compile(
    r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'"
)
_MISSING_ARGUMENT = re.compile(r"(\w+)\.__init__\(\) missing \d+ required .*: (.*)")


def config_sentence(error: BaseException) -> str | None:
    """What is wrong in a config whose component could not be built.

    Args:
        error: What MMEngine raised when it built the component.

    Returns:
        One sentence about a ``type`` that is not registered, or about an argument that
        the component does not take or lacks; None if the error is about something else.
    """
    text = str(error)
    if isinstance(error, KeyError) and (found := _UNKNOWN_TYPE.search(text)):
        name, registry = found.groups()
        return (
            f"type='{name}' in the config is not in the {registry} registry: correct "
            "it, or import its module by custom_imports"
        )
    if not isinstance(error, TypeError):
        return None
    if found := _UNKNOWN_ARGUMENT.search(text):
        kind, name = found.groups()
        if component := _component(kind):
            hint = did_you_mean(name, argument_names(component))
            return (
                f"the config gives {kind} the argument '{name}', which it does not "
                f"have: {hint}Correct the key or remove it"
            )
    if found := _MISSING_ARGUMENT.search(text):
        kind, names = found.groups()
        if _component(kind):
            return f"the config lacks arguments of {kind}: {names}"
    return None


def _component(name: str) -> type | None:
    """The class of that name which a config can name, or which such a class is of."""
    if name == "DataLoader":
        return DataLoader
    return next(
        (x for kind in all_registered() for x in kind.__mro__ if x.__name__ == name),
        None,
    )
