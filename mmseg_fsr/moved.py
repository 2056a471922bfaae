"""Old names of modules, functions and components: what they are called now.

Old import paths keep working, with a ``DeprecationWarning`` that names the new one. A
component that is gone says what to write instead when a config asks for it.
"""

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from mmseg.registry import LOOPS, MODELS

_PACKAGE = __package__

# New module: old modules, all below this package.
_MODULES = {
    "ablation.run": "ablation.run_queue",
    "analysis.attention": (
        "analysis.attention_entropy analysis.attention_hook analysis.attention_weights"
    ),
    "analysis.attention_files": (
        "analysis.class_attention_picture "
        "analysis.entropy_plot "
        "analysis.entropy_table "
        "analysis.short_names"
    ),
    "analysis.benchmark": (
        "benchmark "
        "benchmark.environment "
        "benchmark.markdown_table "
        "benchmark.part_meter "
        "benchmark.part_timer "
        "benchmark.peak_memory "
        "benchmark.processor "
        "benchmark.time_call"
    ),
    "analysis.dataset_attention": (
        "analysis.class_attention_maps analysis.dataset_entropies"
    ),
    "apis.inference": "apis.inference_cams apis.prepare_image",
    "checkpoints.completeness": "utils.complete_checkpoint",
    "checkpoints.fit": "utils.check_weights",
    "checkpoints.names": "utils.name_table utils.student_teacher utils.tensor_names",
    "checkpoints.official": "utils.official_checkpoint",
    "checkpoints.pretrained": "utils.pretrained",
    "checkpoints.reading": "utils.dataset_meta utils.safe_load",
    "checkpoints.runner_loaders": "utils.runner_checkpoint",
    "checkpoints.vit": "utils.vit_layout",
    "checkpoints.writing": "utils.safe_save",
    "cli.arguments": "engine.command_line",
    "cli.cpu_ranks": "engine.cpu_distributed",
    "cli.run_options": "engine.test_options",
    "datasets.image_file": "datasets.pixel_limit",
    "datasets.image_label_dataset": "datasets.image_label",
    "datasets.preparation.label_sources": "datasets.label_sources",
    "datasets.preparation.split_report": "datasets.split_report",
    "datasets.split_file": "datasets.image_name",
    "datasets.transforms.packing": (
        "datasets.transforms.gt_label "
        "datasets.transforms.pack_image_label "
        "datasets.transforms.pack_multi_view"
    ),
    "datasets.voc_coco": "datasets.coco datasets.voc",
    "dependencies": "stack",
    "engine.runner_access": "engine.runner_state",
    "export.label_folder": "export.fingerprint",
    "export.split_dataset": "export.readable_items",
    "models.aggregators.pooling_aggregators": (
        "models.aggregators.average_pooling_aggregator "
        "models.aggregators.max_pooling_aggregator"
    ),
    "models.backbones.features": (
        "models.backbones.fsr_features models.backbones.masked_pass"
    ),
    "models.backbones.fsr_backbone": "models.backbones.level_shapes",
    "models.backbones.fsr_vit": "models.backbones.drop_path_rates",
    "models.backbones.self_distill_backbone": "models.backbones.self_distill_features",
    "models.losses.distillation": "models.heads.center",
    "models.losses.distributed": "models.losses.global_mean",
    "models.masking.blocks": "models.masking.block_mask models.masking.edge_blocks",
    "models.pseudo_labels.cam_pseudo_label_generator": (
        "models.pseudo_labels.cam_to_label"
    ),
    "models.pseudo_labels.class_activation_maps": (
        "models.pseudo_labels.cams "
        "models.pseudo_labels.image_classes "
        "models.pseudo_labels.multi_scale_cams"
    ),
    "models.segmentors.cam_segmentor": (
        "models.segmentors.batch_norm models.segmentors.image_labels"
    ),
    "models.segmentors.config_checks": "models.segmentors.fit_check",
    "report.gallery": "report.pictures",
    "report.run_files": "report.run_facts",
    "scenes": "datasets.scenes",
    "scenes.backgrounds": "datasets.scenes.backgrounds",
    "scenes.noise": "datasets.scenes.noise",
    "scenes.objects": "datasets.scenes.objects",
    "scenes.scene": "datasets.scenes.scene",
    "scenes.writer": "datasets.scenes.writer",
    "utils.label_ids": "label_ids",
    "utils.training_progress": "engine.training_progress",
    "visualization.panel": "visualization.to_picture",
    "visualization.sample_panel": "visualization.uncertainty_panel",
}
# Old name within a package that is still there: new name.
_NAMES = {
    "engine.TrainingProgress": "utils.training_progress.TrainingProgress",
    "engine.training_progress": "utils.training_progress.training_progress",
    "models.heads.Center": "models.losses.Center",
    "models.pseudo_labels.ImageClasses": "models.pseudo_labels.PresentClasses",
    "models.pseudo_labels.image_classes": "models.pseudo_labels.present_classes",
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
# Components of configs that are gone.
_COMPONENTS = {
    "DenseCRFTestLoop": (
        LOOPS,
        "set test_evaluator=dict(type='DenseCRFEvaluator', metrics=[...], "
        "crf=dict(type='DenseCRF')), as --crf of tools/test.py does",
    ),
    "PyDenseCRF": (MODELS, "use DenseCRF, which gives the same without pydensecrf"),
}


class _MovedModules(MetaPathFinder, Loader):
    """Finds modules by their old names."""

    def __init__(self) -> None:
        self._new_names = {
            f"{_PACKAGE}.{old}": f"{_PACKAGE}.{new}"
            for new, olds in _MODULES.items()
            for old in olds.split()
        }

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module that has moved; None of any other."""
        if fullname not in self._new_names:
            return None
        # A package may have become a module: old names below it are in the table too.
        return ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Gives the old module what the new one holds."""
        new_name = self._new_names[module.__name__]
        _warn(module.__name__, new_name)
        moved = importlib.import_module(new_name)
        names = (name for name in vars(moved) if not name.startswith("__"))
        vars(module).update({name: getattr(moved, name) for name in names})


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=3)


def _look_up(package: str, name: str) -> Any:
    """What a package called so before."""
    new = _NAMES.get(f"{package}.{name}")
    if new is None:
        raise AttributeError(f"module '{_PACKAGE}.{package}' has no attribute '{name}'")
    _warn(f"{_PACKAGE}.{package}.{name}", f"{_PACKAGE}.{new}")
    module, _, attribute = new.rpartition(".")
    return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), attribute)


def _refuse(component: str, remedy: str) -> type:
    """Stands for a component that is gone."""

    def __init__(self: object, *args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError(f"type='{component}' is gone: {remedy}")

    return type(component, (), dict(__init__=__init__))


def install() -> None:
    """Makes old names known; importing the package does it."""
    sys.meta_path.append(_MovedModules())
    for package in {name.rpartition(".")[0] for name in _NAMES}:
        module = importlib.import_module(f"{_PACKAGE}.{package}")
        module.__getattr__ = lambda name, package=package: _look_up(package, name)
    for component, (registry, remedy) in _COMPONENTS.items():
        registry.register_module(component, module=_refuse(component, remedy))
