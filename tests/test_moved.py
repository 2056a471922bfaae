"""Old names: what people's code and configs may still say."""

import importlib
import inspect
import sys

import pytest
from mmseg.registry import HOOKS, LOOPS, MODELS

from mmseg_fsr import moved

(FINDER,) = (each for each in sys.meta_path if isinstance(each, moved._OldModules))


@pytest.mark.parametrize("old", sorted(FINDER.new_names))
def test_old_modules_name_the_new_ones(old):
    new = FINDER.new_names[old]
    assert importlib.import_module(new).__name__ == new
    with pytest.raises(ModuleNotFoundError, match=f"^{old} is now {new}$"):
        importlib.import_module(old)


@pytest.mark.parametrize("old", sorted(moved._NAMES))
def test_old_names_in_packages_name_the_new_ones(old):
    package, _, name = old.rpartition(".")
    new = f"mmseg_fsr.{moved._NAMES[old]}"
    module, _, attribute = new.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)
    with pytest.raises(ImportError, match=f"{name} is now {new}$"):
        exec(f"from mmseg_fsr.{package} import {name}", {})


def test_a_module_within_an_old_package_names_the_new_package():
    with pytest.raises(ModuleNotFoundError, match=r"is now mmseg_fsr\.scenes$"):
        importlib.import_module("mmseg_fsr.datasets.scenes.writer")


def test_names_that_never_were_are_unknown_as_ever():
    with pytest.raises(ImportError, match="cannot import name 'lode_checkpoint'"):
        exec("from mmseg_fsr.utils import lode_checkpoint", {})
    with pytest.raises(ModuleNotFoundError, match="No module named"):
        importlib.import_module("mmseg_fsr.utils.lode_checkpoint")


@pytest.mark.parametrize(
    ("registry", "cfg", "remedy"),
    [
        (LOOPS, dict(type="DenseCRFTestLoop", crf={}), "type='DenseCRFEvaluator'"),
        (MODELS, dict(type="PyDenseCRF", num_workers=2), "use DenseCRF"),
        (MODELS, dict(type="DenseCRF", num_workers=2), "leave it out"),
        (HOOKS, dict(type="EMATeacherHook", validate="both"), "teacher_scoring="),
        (
            MODELS,
            dict(type="SelfDistillHead", in_channels=4, with_teacher=True),
            "type='SelfDistillAuxHead'",
        ),
    ],
)
def test_what_is_gone_from_configs_says_what_to_write(registry, cfg, remedy):
    with pytest.raises(ValueError, match=remedy):
        registry.build(cfg)


def test_refusing_an_old_setting_hides_no_signature():
    hook = HOOKS.get("EMATeacherHook")
    assert list(inspect.signature(hook).parameters) == ["momentum", "end_momentum"]
    assert hook(momentum=0.9).momentum == 0.9
