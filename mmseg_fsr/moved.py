"""Old names: what modules, names, components and settings are called now.

What still uses an old name gets an error that says the new one.
"""

import functools
import importlib
import sys
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any, NoReturn

from mmseg.registry import LOOPS, MODELS

_PACKAGE = __package__

# Old modules that documents or other people's code named, below this package. Modules
# from which a package re-exports its public names are not among them.
_MODULES = {
    "benchmark": "analysis.benchmark",
    "datasets.coco": "datasets.voc_coco",
    "datasets.image_label": "datasets.image_label_dataset",
    "datasets.label_sources": "datasets.preparation.label_sources",
    "datasets.pixel_limit": "datasets.image_file",
    "datasets.scenes": "scenes",
    "datasets.split_report": "datasets.preparation.split_report",
    "datasets.voc": "datasets.voc_coco",
    "engine.command_line": "cli.arguments",
    "engine.loops": "evaluation",
    "engine.cpu_distributed": "cli.cpu_ranks",
    "engine.runner_state": "engine.runner_access",
    "engine.test_options": "cli.run_options",
    "engine.training_progress": "utils.training_progress",
    "engine.untouched_training": "engine.hooks.cam_visualization_hook",
    "export.fingerprint": "export.label_folder",
    "label_ids": "utils.label_ids",
    "models.losses.global_mean": "models.losses.distributed",
    "stack": "dependencies",
    "utils.atomic_backend": "engine.hooks.atomic_checkpoint_hook",
    "utils.check_weights": "checkpoints.fit",
    "utils.complete_checkpoint": "checkpoints.completeness",
    "utils.dataset_meta": "checkpoints.reading",
    "utils.name_table": "checkpoints.renaming",
    "utils.official_checkpoint": "checkpoints.official",
    "utils.pretrained": "checkpoints.pretrained",
    "utils.runner_checkpoint": "checkpoints.runner_loaders",
    "utils.safe_load": "checkpoints.reading",
    "utils.safe_save": "checkpoints.writing",
    "utils.student_teacher": "checkpoints.names",
    "utils.vit_layout": "checkpoints.vit",
}
# Old name in a package that is still there: new name.
_NAMES = {
    "engine.TrainingProgress": "utils.training_progress.TrainingProgress",
    "engine.training_progress": "utils.training_progress.training_progress",
    "models.heads.Center": "models.losses.Center",
    "models.pseudo_labels.CAMSum": "models.pseudo_labels.multi_scale_cams",
    "models.pseudo_labels.CAMView": "models.pseudo_labels.multi_scale_cams",
    "models.pseudo_labels.ImageClasses": "models.pseudo_labels.PresentClasses",
    "models.pseudo_labels.image_classes": "models.pseudo_labels.present_classes",
    "models.pseudo_labels.sum_over_scales": "models.pseudo_labels.multi_scale_cams",
    "models.postprocessing.BaseDenseCRF": "models.postprocessing.DenseCRF",
    "models.postprocessing.PyDenseCRF": "models.postprocessing.DenseCRF",
    "models.segmentors.given_image_labels": "models.segmentors.labels_of_sample",
    "models.segmentors.image_labels_from_mask": "models.segmentors.labels_of_mask",
    **{
        f"utils.{name}": f"checkpoints.{name}"
        for name in (
            "LAYOUTS",
            "NETWORKS",
            "convert_official_state_dict",
            "convert_to_official",
            "convert_vit",
            "load_checkpoint_file",
            "load_pretrained_backbone",
            "load_state_dict_file",
            "network_state_dict",
            "save_file",
            "save_state_dict_file",
        )
    },
}
# Component of configs that is gone: its registry, and what to write instead.
_COMPONENTS = {
    "DenseCRFTestLoop": (
        LOOPS,
        "set test_evaluator=dict(type='DenseCRFEvaluator', metrics=[...], "
        "crf=dict(type='DenseCRF')), as --crf of tools/test.py does",
    ),
    "PyDenseCRF": (MODELS, "use DenseCRF, which gives the same without pydensecrf"),
}
# Class and a setting that it had: what to write instead.
_SETTINGS = {
    ("engine.hooks.EMATeacherHook", "validate"): (
        "set default_hooks.teacher_scoring=dict(type='TeacherScoringHook', "
        "validate=...)"
    ),
    ("models.heads.SelfDistillHead", "with_teacher"): (
        "leave it out; as an auxiliary_head set type='SelfDistillAuxHead'"
    ),
    ("models.postprocessing.DenseCRF", "num_workers"): (
        "leave it out, it refines on the device of the model"
    ),
}


def install() -> None:
    """Makes the old names known; importing the package does it."""
    sys.meta_path.append(_OldModules())
    for package in {name.rpartition(".")[0] for name in _NAMES}:
        module = importlib.import_module(f"{_PACKAGE}.{package}")
        module.__getattr__ = functools.partial(_refuse_name, package)
    for component, (registry, remedy) in _COMPONENTS.items():
        registry.register_module(component, module=_refusing(component, remedy))
    for (path, setting), remedy in _SETTINGS.items():
        module, _, name = path.rpartition(".")
        cls = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)
        _refuse_setting(cls, setting, remedy)


class _OldModules(MetaPathFinder):
    """Comes after all other finders, which know no module of an old name."""

    def __init__(self) -> None:
        self.new_names = {
            f"{_PACKAGE}.{old}": f"{_PACKAGE}.{new}" for old, new in _MODULES.items()
        }

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> None:
        if fullname in self.new_names:
            raise ModuleNotFoundError(f"{fullname} is now {self.new_names[fullname]}")


def _refuse_name(package: str, name: str) -> NoReturn:
    """Stands for the ``__getattr__`` of a package that lacks a name."""
    new = _NAMES.get(f"{package}.{name}")
    if new is not None:
        raise ImportError(f"{_PACKAGE}.{package}.{name} is now {_PACKAGE}.{new}")
    raise AttributeError(f"module '{_PACKAGE}.{package}' has no attribute '{name}'")


def _refusing(component: str, remedy: str) -> type:
    """A class that cannot be built, in the place of a component that is gone."""

    def __init__(self: object, *args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError(f"type='{component}' is gone: {remedy}")

    return type(component, (), dict(__init__=__init__))


def _refuse_setting(cls: type, setting: str, remedy: str) -> None:
    """Has a class refuse a setting that it had."""
    initialize = cls.__init__

    @functools.wraps(initialize)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if setting in kwargs:
            raise ValueError(
                f"{cls.__name__} has no setting {setting} any more: {remedy}"
            )
        initialize(self, *args, **kwargs)

    cls.__init__ = __init__
