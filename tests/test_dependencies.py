import subprocess
import sys
import warnings
from pathlib import Path

import packaging
import pytest

from mmseg_fsr.dependencies import (
    REQUIREMENTS,
    check_stack,
    installed_version,
    without_import_noise,
)
from tests.support.project_files import ROOT

ONEDL = {
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "onedl-mmengine": "0.10.12",
    "onedl-mmcv": "2.3.6",
    "onedl-mmsegmentation": "1.4.2",
    "onedl-mmpretrain": "1.3.6",
}
OPENMMLAB = {
    "torch": "2.5.1+cu121",
    "torchvision": "0.20.1+cu121",
    "mmengine": "0.10.7",
    "mmcv": "2.1.0",
    "mmsegmentation": "1.2.2",
    "mmpretrain": "1.2.0",
}


def check(versions: dict[str, str], import_module=lambda name: None):
    return check_stack(versions.get, import_module)


@pytest.mark.parametrize("versions", [ONEDL, OPENMMLAB])
def test_both_stacks_pass(versions):
    stack = check(versions)
    assert {item.distribution: item.version for item in stack.values()} == versions
    assert list(stack) == [requirement.module for requirement in REQUIREMENTS]


def test_what_runs_these_tests_passes():
    assert check_stack()["torch"].version == installed_version("torch")


@pytest.mark.parametrize("absent", ONEDL)
def test_missing_package_names_the_extra(absent):
    versions = {name: value for name, value in ONEDL.items() if name != absent}
    module = absent.removeprefix("onedl-").replace("mmsegmentation", "mmseg")
    with pytest.raises(ImportError, match=rf"needs {module}: not installed") as error:
        check(versions)
    assert "pip install 'mmseg_fsr[onedl]'" in str(error.value)
    assert "'mmseg_fsr[openmmlab]'" in str(error.value)


@pytest.mark.parametrize(
    ("versions", "distribution", "version", "expected"),
    [
        (OPENMMLAB, "torch", "2.4.1", "torch >=2.5"),
        (OPENMMLAB, "mmengine", "0.10.6", "mmengine >=0.10.7,<0.11"),
        (OPENMMLAB, "mmcv", "2.0.1", "mmcv >=2.1.0,<2.4"),
        (OPENMMLAB, "mmsegmentation", "1.2.1", "mmseg >=1.2.2,<1.5"),
        (OPENMMLAB, "mmpretrain", "1.1.1", "mmpretrain >=1.2.0,<1.4"),
        (ONEDL, "onedl-mmengine", "0.11.0", "mmengine >=0.10.7,<0.11"),
        (ONEDL, "onedl-mmcv", "2.4.0", "mmcv >=2.1.0,<2.4"),
        (ONEDL, "onedl-mmsegmentation", "1.5.0", "mmseg >=1.2.2,<1.5"),
        (ONEDL, "onedl-mmpretrain", "1.4.0", "mmpretrain >=1.2.0,<1.4"),
    ],
)
def test_version_out_of_range_names_the_range(
    versions, distribution, version, expected
):
    with pytest.raises(ImportError) as error:
        check(versions | {distribution: version})
    assert f"needs {expected}, but {distribution} {version} is" in str(error.value)


def test_prerelease_inside_the_range_passes():
    assert check(ONEDL | {"onedl-mmcv": "2.3.7rc1"})["mmcv"].version == "2.3.7rc1"


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        (
            OPENMMLAB | {"torch": "2.6.0", "torchvision": "0.21.0"},
            r"mmengine 0\.10\.7 needs torch <2\.6, but torch 2\.6\.0 is installed",
        ),
        (OPENMMLAB | {"mmcv": "2.2.0"}, r"mmsegmentation 1\.2\.2 needs mmcv <2\.2"),
        (ONEDL | {"mmcv": "2.1.0"}, r"onedl-mmcv 2\.3\.6 and mmcv 2\.1\.0 both"),
    ],
)
def test_packages_that_do_not_go_together_are_refused(versions, message):
    with pytest.raises(ImportError, match=message):
        check(versions)


@pytest.mark.parametrize("kind", [RuntimeError, ImportError, OSError])
def test_torchvision_of_another_torch_is_named(kind):
    def import_module(name):
        if name == "torchvision":
            raise kind("operator torchvision::nms does not exist")

    message = r"torchvision 0\.20\.1 does not load with torch 2\.15\.0.* matching pair"
    with pytest.raises(ImportError, match=message):
        check(ONEDL | {"torchvision": "0.20.1"}, import_module)


def test_a_broken_torch_is_not_blamed_on_torchvision():
    def import_module(name):
        raise OSError(f"{name}: no such library")

    with pytest.raises(OSError, match="torch: no such library"):
        check(ONEDL, import_module)


def test_import_of_the_bare_package_says_which_extra_to_install(tmp_path):
    # Nothing of site-packages but what the bare package requires.
    (tmp_path / "packaging").symlink_to(Path(packaging.__file__).parent)
    paths = f"{str(ROOT)!r}, {str(tmp_path)!r}"
    result = subprocess.run(
        [
            *(sys.executable, "-S", "-c"),
            f"import sys; sys.path[:0] = [{paths}]; import mmseg_fsr",
        ],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: mmseg_fsr needs torch, torchvision, mmengine")
    assert "pip install 'mmseg_fsr[onedl]'" in last


def test_only_what_onedl_says_of_absent_parts_is_held_back(capsys):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with without_import_noise():
            name = "MultiScaleDeformableAttention"
            warnings.warn(f"Fail to import ``{name}`` from ...", stacklevel=1)
            warnings.warn("another warning", stacklevel=1)
            print("Could not import OneDL")
            print("another line")
    assert [str(warning.message) for warning in caught] == ["another warning"]
    assert capsys.readouterr().out == "another line\n"


@pytest.mark.slow
def test_import_leaves_other_models_of_the_process_alone():
    """It warns of nothing; mmengine loads checkpoints as before until a config asks."""
    code = """
from mmengine.runner import CheckpointLoader
before = dict(CheckpointLoader._schemes)
import mmseg_fsr, mmseg.datasets, mmseg.models, mmpretrain.datasets
import mmseg_fsr.ablation, mmseg_fsr.export
assert CheckpointLoader._schemes == before
import mmseg_fsr.checkpoints.runner_loaders as ours
changed = dict(CheckpointLoader._schemes.items() - before.items())
assert changed.pop("") is ours.load_from_local
assert changed == {"http://": ours.load_from_http, "https://": ours.load_from_http}
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "mmcv-lite" not in result.stderr
