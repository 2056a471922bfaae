"""What the API's pages make of docstrings."""

import logging
import re
from typing import Any

import griffe

# Warnings of this logger make a strict build fail.
_logger = logging.getLogger("mkdocs.plugins.docstrings")
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):`(~?)([\w.]+)`")


class ProjectDocstrings(griffe.Extension):
    """Demands docstrings of public names, and links what they refer to."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Checks and rewrites the docstring of a module, class or function."""
        if obj.docstring is not None:
            # The name of the section that is shown as code.
            text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
            obj.docstring.value = _ROLE.sub(lambda x: _link(obj, *x.groups()), text)
        elif obj.labels & {"class-attribute", "instance-attribute"} == {
            "instance-attribute"
        }:
            obj.public = False
        elif _needs_docstring(obj):
            _logger.warning(f"{obj.path} is public and has no docstring")


def _needs_docstring(obj: griffe.Object) -> bool:
    """Whether an object can be reached without a leading underscore."""
    private = any(part.startswith("_") for part in obj.path.split("."))
    return not private and not obj.is_attribute


def _link(obj: griffe.Object, tilde: str, name: str) -> str:
    """A reference of Sphinx as one of mkdocs-autorefs."""
    shown = name.rpartition(".")[2] if tilde else name
    if name.startswith("mmseg_fsr."):
        return f"[`{shown}`][{name}]"
    try:
        return f"[`{shown}`][{obj.resolve(name)}]"
    except griffe.NameResolutionError:
        return f"`{shown}`"
