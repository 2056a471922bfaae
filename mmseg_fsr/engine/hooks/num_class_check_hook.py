"""Hook that compares the classes of the model with those of the data."""

import json
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS
from torch.utils.data import Dataset

from mmseg_fsr.datasets.foreground_check import require_foreground
from mmseg_fsr.engine.runner_access import unwrapped_model
from mmseg_fsr.utils.class_names import compare_classes
from mmseg_fsr.utils.first_names import first_names
from mmseg_fsr.utils.pixel_range import compare_ranges


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Refuses a data set whose number of classes is not that of the decode head.

    A head that keeps ``num_classes`` of its base config would otherwise fail at the
    first step with an error about tensor sizes, or train outputs that no label names.
    After mmdet's hook of the same name. Validation data that have the classes in
    another order than the training data are refused, too, and those none of whose
    masks shows a foreground class. So are exported labels whose classes are in another
    order than the training data's: their ``manifest.json`` names them.
    """

    def __init__(self) -> None:
        self._with_foreground: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        """Checks the training data, and already the validation data."""
        dataset = runner.train_loop.dataloader.dataset
        self._check(runner, dataset, "train_dataloader")
        _check_exported(dataset)
        if runner.val_loop is None:
            return
        self.before_val(runner)
        validated = runner.val_loop.dataloader.dataset
        titles = "the data set of val_dataloader", "the data set of train_dataloader"
        val, train = (getattr(data, "metainfo", {}) for data in (validated, dataset))
        compare_classes(val.get("classes"), train.get("classes"), *titles)
        compare_ranges(val.get("pixel_range"), train.get("pixel_range"), *titles)

    def before_val(self, runner: Runner) -> None:
        """Checks the validation data."""
        self._check_scored(runner, runner.val_loop, "val_dataloader")

    def before_test(self, runner: Runner) -> None:
        """Checks the test data."""
        self._check_scored(runner, runner.test_loop, "test_dataloader")

    def _check_scored(self, runner: Runner, loop: BaseLoop, key: str) -> None:
        """Checks the data of a loop, and once a run the masks that metrics score.

        Raises:
            ValueError: If the numbers of classes differ, or no mask shows a class.
        """
        self._check(runner, loop.dataloader.dataset, key)
        if loop.evaluator.metrics and key not in self._with_foreground:
            require_foreground(loop.dataloader.dataset, key)
            self._with_foreground.add(key)

    def _check(self, runner: Runner, dataset: Dataset, key: str) -> None:
        """A data set without named classes passes.

        Raises:
            ValueError: If the numbers differ; the message names both keys.
        """
        classes = _classes_of(dataset)
        model = unwrapped_model(runner)
        if classes is None or len(classes) == model.num_classes:
            return
        remedy = f"decode_head.num_classes={len(classes)}"
        if hasattr(model, "cam_head"):
            remedy += (
                f" and cam_head.num_classes={len(classes) - 1}, which leaves the "
                "background out"
            )
        raise ValueError(
            f"model.decode_head.num_classes={model.num_classes}, but the data set of "
            f"{key} has {len(classes)} classes, {first_names(classes, 4)}: "
            f"set {remedy}"
        )


def _check_exported(dataset: Dataset) -> None:
    """Compares a data set's classes with those of the export that it trains on."""
    folder = getattr(dataset, "data_prefix", {}).get("seg_map_path")
    manifest = Path(folder or "", "manifest.json")
    if not folder or not manifest.is_file():
        return
    exported = json.loads(manifest.read_text(encoding="utf-8"))
    # An export names its classes at its end; another program's manifest may be a list.
    named = exported.get("classes") if isinstance(exported, dict) else None
    if isinstance(named, dict) and "settings" in exported:
        ours = "the data set of train_dataloader"
        compare_classes(_classes_of(dataset), list(named), ours, str(manifest))


def _classes_of(dataset: Dataset) -> tuple[str, ...] | None:
    return getattr(dataset, "metainfo", {}).get("classes")
