"""Builds mmseg_fsr, with its configs and tools inside the wheel."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The lines of ``requirements/<name>.txt`` without comments."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    stripped = (line.split("#")[0].strip() for line in lines)
    return [line for line in stripped if line]


def version() -> str:
    """The package's version, read without importing it."""
    text = (ROOT / "mmseg_fsr" / "version.py").read_text()
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE).group(1)


def long_description() -> str:
    """The README, if there is one."""
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


class BuildWithMim(build_py):
    """Puts ``configs/`` and ``tools/`` under ``mmseg_fsr/.mim`` of what is built.

    That is where OpenMMLab packages hold them. An editable install uses the checkout.
    """

    FOLDERS = ("configs", "tools")

    def _mim_files(self) -> list[tuple[Path, Path]]:
        target = Path(self.build_lib) / "mmseg_fsr" / ".mim"
        return [
            (source, target / source.relative_to(ROOT))
            for folder in self.FOLDERS
            for source in sorted((ROOT / folder).rglob("*"))
            if source.is_file() and "__pycache__" not in source.parts
        ]

    def run(self) -> None:
        """Copies the modules, then the two folders."""
        super().run()
        if getattr(self, "editable_mode", False):
            return
        for source, target in self._mim_files():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """The files that the build writes."""
        outputs = super().get_outputs(include_bytecode)
        if getattr(self, "editable_mode", False):
            return outputs
        return outputs + [str(target) for _, target in self._mim_files()]


setup(
    name="mmseg_fsr",
    version=version(),
    description=(
        "Progressive Feature Self-Reinforcement for weakly supervised semantic "
        "segmentation, as an MMSegmentation plugin"
    ),
    long_description=long_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["mmseg_fsr", "mmseg_fsr.*"]),
    # Puts the checkout on the path of an editable install: without it a checkout in a
    # folder named mmseg_fsr hides the package from whoever stands beside the folder.
    package_dir={"": "."},
    include_package_data=False,
    package_data={"mmseg_fsr.report": ["templates/*"]},
    zip_safe=False,
    install_requires=requirements("runtime"),
    extras_require={
        name: requirements(name)
        for name in ("onedl", "openmmlab", "coco", "timm", "cleanlab", "onnx", "test")
    },
    cmdclass={"build_py": BuildWithMim},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Operating System :: POSIX :: Linux",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
