import email
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mmseg_fsr import __version__
from mmseg_fsr.dependencies import REQUIREMENTS

ROOT = Path(__file__).parents[1]
NOT_SOURCE = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")


def run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)


def files_below(root: Path, folder: str) -> set[str]:
    return {
        path.relative_to(root).as_posix()
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the sources, so that a build leaves nothing in the real ones."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("mmseg_fsr", "configs", "tools", "requirements"):
        shutil.copytree(ROOT / name, copy / name, ignore=NOT_SOURCE)
    # Data files beside configs, such as lists of image names, must travel too.
    (copy / "configs" / "lists").mkdir()
    (copy / "configs" / "lists" / "train.txt").write_text("2007_000032\n")
    # What an earlier run may have left must not.
    (copy / "tools" / "__pycache__").mkdir()
    (copy / "tools" / "__pycache__" / "train.cpython-311.pyc").write_bytes(b"")
    return copy


@pytest.fixture(scope="module")
def unpacked_sdist(checkout, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(
        sys.executable,
        "-c",
        "import sys, setuptools.build_meta as backend; "
        "backend.build_sdist(sys.argv[1])",
        str(folder),
        cwd=checkout,
    )
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder)
    (root,) = (path for path in folder.iterdir() if path.is_dir())
    return root


@pytest.fixture(scope="module")
def wheel(unpacked_sdist, tmp_path_factory) -> zipfile.ZipFile:
    """The wheel built from the source distribution, not from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet")
    run(
        *pip, "--no-deps", "--no-build-isolation", "-w", str(folder), ".",
        cwd=unpacked_sdist,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["configs", "tools"])
def test_wheel_holds_configs_and_tools(wheel, checkout, folder):
    prefix = "mmseg_fsr/.mim/"
    held = {
        name.removeprefix(prefix)
        for name in wheel.namelist()
        if name.startswith(f"{prefix}{folder}/")
    }
    expected = files_below(checkout, folder)
    assert held == expected
    assert {"configs": "configs/lists/train.txt", "tools": "tools/train.py"}[
        folder
    ] in held


def test_citation_states_the_version():
    (line,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert line == __version__


@pytest.mark.slow
def test_wheel_holds_every_module_and_template_and_no_tests(wheel, checkout):
    names = wheel.namelist()
    held = {
        name for name in names if name.startswith("mmseg_fsr/") and "/.mim/" not in name
    }
    sources = files_below(checkout, "mmseg_fsr")
    templates = {name for name in sources if "/templates/" in name}
    assert len(templates) == 4
    assert {name for name in sources if name[-3:] == ".py"} | templates <= held
    assert {
        name.split("/")[0] for name in names if not name.startswith("mmseg_fsr/")
    } == {f"mmseg_fsr-{__version__}.dist-info"}


@pytest.mark.slow
def test_wheel_requires_no_stack_and_offers_the_extras(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.10"
    required = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    bare = {item.name for item in required if item.marker is None}
    assert bare == {"jinja2", "numpy", "packaging"}
    for extra, index in (("onedl", 0), ("openmmlab", -1)):
        offered = {
            item.name
            for item in required
            if item.marker is not None and item.marker.evaluate({"extra": extra})
        }
        assert {item.distributions[index] for item in REQUIREMENTS} <= offered


@pytest.mark.slow
def test_sdist_holds_what_a_build_reads(unpacked_sdist, checkout):
    for folder in ("configs", "tools", "requirements"):
        assert files_below(unpacked_sdist, folder) == files_below(checkout, folder)
    assert (unpacked_sdist / "LICENSE").read_text().lstrip().startswith("Apache")


def test_extras_stay_within_the_ranges_checked_at_import():
    ranges = {
        name: item.versions for item in REQUIREMENTS for name in item.distributions
    }
    checked = 0
    for extra in ("onedl", "openmmlab"):
        for line in (ROOT / "requirements" / f"{extra}.txt").read_text().splitlines():
            text = line.split("#")[0].strip()
            if not text or Requirement(text).name not in ranges:
                continue
            requirement = Requirement(text)
            lowest = next(
                spec.version
                for spec in requirement.specifier
                if spec.operator in (">=", "==")
            )
            allowed = Requirement(f"x{ranges[requirement.name]}").specifier
            assert allowed.contains(lowest), text
            checked += 1
    assert checked == 12
