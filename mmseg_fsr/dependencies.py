"""Checks that the packages that this one is built on are there and fit together.

Two sets of distributions own the same modules ``mmengine``, ``mmcv``, ``mmseg`` and
``mmpretrain``: the original OpenMMLab ones and the maintained OneDL builds. Neither can
be a hard requirement. So ``import mmseg_fsr`` checks the installed metadata before it
imports any of them.
"""

import contextlib
import importlib
import importlib.metadata
import io
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

from packaging.specifiers import SpecifierSet

INSTALL_HINT = (
    "Install one stack: pip install 'mmseg_fsr[onedl]' (maintained builds, current "
    "torch) or pip install 'mmseg_fsr[openmmlab]' (the original packages)."
)


class Requirement(NamedTuple):
    """A module, the distributions that may provide it, and their versions."""

    module: str
    distributions: tuple[str, ...]
    versions: str


class Conflict(NamedTuple):
    """Versions of a module that need other versions of another one."""

    module: str
    versions: str
    other: str
    other_needs: str
    reason: str


class Installed(NamedTuple):
    """A distribution that was found."""

    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    def within(self, versions: str) -> bool:
        """Whether the version lies in a range such as ``'>=2.1,<2.4'``."""
        return SpecifierSet(versions).contains(self.version, prereleases=True)


REQUIREMENTS = (
    # Since 2.5, torch reads checkpoints as data by a list of allowed objects.
    Requirement("torch", ("torch",), ">=2.5"),
    Requirement("torchvision", ("torchvision",), ">=0.20"),
    Requirement("mmengine", ("onedl-mmengine", "mmengine"), ">=0.10.7,<0.11"),
    Requirement("mmcv", ("onedl-mmcv", "mmcv"), ">=2.1.0,<2.4"),
    Requirement("mmseg", ("onedl-mmsegmentation", "mmsegmentation"), ">=1.2.2,<1.5"),
    Requirement("mmpretrain", ("onedl-mmpretrain", "mmpretrain"), ">=1.2.0,<1.4"),
)
CONFLICTS = (
    Conflict(
        "mmengine",
        "<=0.10.7",
        "torch",
        "<2.6",
        "this mmengine cannot load its own checkpoints on torch 2.6 or newer",
    ),
    Conflict("mmseg", "<1.3", "mmcv", "<2.2", "this mmseg refuses a newer mmcv"),
)


def installed_version(distribution: str) -> str | None:
    """The version of a distribution, by its name on PyPI; None if there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_stack(
    version_of: Callable[[str], str | None] = installed_version,
    import_module: Callable[[str], object] = importlib.import_module,
) -> dict[str, Installed]:
    """Refuses a missing, doubled, unsupported or mismatched stack.

    Args:
        version_of: Gives the version of a distribution, or None.
            Defaults to :func:`installed_version`.
        import_module: Imports a module by name. Defaults to
            :func:`importlib.import_module`.

    Returns:
        What provides each module of :data:`REQUIREMENTS`.

    Raises:
        ImportError: Naming the package, the supported range and what to do.
    """
    providers = {
        requirement.module: [
            Installed(name, version)
            for name in requirement.distributions
            if (version := version_of(name)) is not None
        ]
        for requirement in REQUIREMENTS
    }
    missing = [module for module, found in providers.items() if not found]
    if missing:
        raise ImportError(
            f"mmseg_fsr needs {', '.join(missing)}: not installed. {INSTALL_HINT}"
        )
    for module, found in providers.items():
        if len(found) > 1:
            raise ImportError(
                f"{' and '.join(map(str, found))} both install the module {module} "
                f"over each other. Uninstall both, then install one stack again. "
                f"{INSTALL_HINT}"
            )
    stack = {module: found[0] for module, found in providers.items()}
    for module, _, versions in REQUIREMENTS:
        if not stack[module].within(versions):
            raise ImportError(
                f"mmseg_fsr needs {module} {versions}, but {stack[module]} is "
                f"installed. {INSTALL_HINT}"
            )
    for module, versions, other, other_needs, reason in CONFLICTS:
        if stack[module].within(versions) and not stack[other].within(other_needs):
            raise ImportError(
                f"{stack[module]} needs {other} {other_needs}, but {stack[other]} is "
                f"installed: {reason}. {INSTALL_HINT}"
            )
    import_module("torch")
    try:
        import_module("torchvision")
    # Metadata does not pin the pair on every platform. A torchvision of another torch
    # fails at import: "operator torchvision::nms does not exist".
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise ImportError(
            f"{stack['torchvision']} does not load with {stack['torch']} ({error}): "
            f"they must be a matching pair. Install them together: "
            f"pip install --upgrade torch torchvision"
        ) from error
    return stack


@contextlib.contextmanager
def without_import_noise() -> Iterator[None]:
    """Holds back what the OneDL builds say when they are imported.

    That is a warning that compiled operators are absent, and lines that a platform's
    data sets are: this package uses neither. All else passes.
    """
    printed = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
            warnings.filterwarnings(
                "ignore", message="Fail to import ``MultiScaleDeformableAttention``"
            )
            yield
    finally:
        lines = printed.getvalue().splitlines(keepends=True)
        print(*(x for x in lines if "Could not import OneDL" not in x), sep="", end="")
