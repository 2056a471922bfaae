"""Test loop that writes label maps instead of scoring."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop
from mmengine.runner.amp import autocast
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, LOOPS, MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_fsr.datasets.image_folder import find_masks
from mmseg_fsr.datasets.mask_file import write_mask
from mmseg_fsr.engine.runner_access import undistributed_model, unwrapped_model
from mmseg_fsr.evaluation import refine_sample
from mmseg_fsr.models.backbones import ImageTooSmallError
from mmseg_fsr.models.segmentors import (
    WeakSegmentor,
    labels_of_sample,
    require_merged_logits,
)
from mmseg_fsr.utils.label_ids import IGNORE_INDEX
from mmseg_fsr.version import __version__

from .label_folder import LabelFolder, config_sha256, file_sha256, labels_sha256
from .label_maps import (
    SOURCES,
    class_logits,
    hides_unknown,
    ids_with_background,
    label_map,
)
from .label_report import report_labels
from .split_dataset import ReadableBatch, ReadableItems, collate_readable


@LOOPS.register_module()
class PseudoLabelExportLoop(TestLoop):
    """Writes a label map for each image of the test data set.

    Label maps are palette PNGs of the images' size with the ids of the data set's
    masks. They have the names of their images. ``manifest.json`` beside them holds the
    settings and the report. Existing label maps are not made again; in a distributed
    run each process writes its share of the missing ones. An image that cannot be read
    adds a line to ``problems``, and the loop continues.

    Args:
        runner: The runner, of a :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`.
        dataloader: Config of the test data loader; its data set is an
            :class:`~mmseg_fsr.datasets.ImageLabelDataset`.
        evaluator: Not used; the report counts and scores the files.
        out: The folder of the label maps.
        source: ``'cam'``, ``'par'`` or ``'seg'``, see
            :func:`~mmseg_fsr.export.label_maps.label_map`.
        checkpoint: The file with the runner's weights, for the manifest.
        bkg_thr: Background threshold of ``source='cam'``, in 0..1. Defaults to None.
        crf: Config of a CRF that refines the labels. Defaults to None.
        masks: Folder of masks to score the label maps with. Defaults to None, which
            means ``seg_map_path`` of the data set if it has one.
        settings: Further plain values that the labels depend on, for the manifest.
            Defaults to None.
        overwrite: Whether label maps of other settings are replaced. Defaults to
            False.
        fp16: Whether the network runs in half precision. Defaults to False.

    Attributes:
        problems: One line for each image that could not be read, or is too small for
            the backbone.
        report: Counts and scores, see
            :func:`~mmseg_fsr.export.label_report.report_labels`. ``run`` sets it, to
            None on all processes but the first.

    Raises:
        FileExistsError: If ``out`` holds label maps of other settings, or masks.
        ValueError: If ``source`` is unknown, its threshold is not in 0..1, ``masks``
            has no mask of the images, or the model is mmseg's ``SegTTAModel``.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        evaluator: Evaluator | list,
        out: str,
        source: str,
        checkpoint: str,
        bkg_thr: float | None = None,
        crf: dict | None = None,
        masks: str | None = None,
        settings: dict[str, Any] | None = None,
        overwrite: bool = False,
        fp16: bool = False,
    ) -> None:
        if source not in SOURCES:
            raise ValueError(f"source='{source}': expected one of {SOURCES}")
        if source == "cam" and not (bkg_thr is not None and 0 <= bkg_thr <= 1):
            raise ValueError(f"bkg_thr={bkg_thr}: expected a threshold in 0..1")
        require_merged_logits(undistributed_model(runner))
        self.source = source
        self.bkg_thr = bkg_thr
        self.overwrite = overwrite
        self.dataset = DATASETS.build(dataloader["dataset"])
        self.names = self.dataset.image_names()
        self.mask_ids = self.dataset.mask_ids()
        self.masks = self._find_masks(masks)
        self.problems: list[str] = []
        self.crf = None if crf is None else MODELS.build(crf)

        def plan() -> tuple[LabelFolder, list[int]]:
            infos = map(self.dataset.get_data_info, range(len(self.dataset)))
            image_labels = [info.get("gt_label") for info in infos]
            settings_of_labels = dict(
                source=source,
                **self._thresholds(unwrapped_model(runner)),
                crf=crf,
                **(settings or {}),
                config_sha256=config_sha256(
                    dict(
                        model=runner.cfg.model,
                        pipeline=dataloader["dataset"]["pipeline"],
                        classes=self.dataset.metainfo["classes"],
                        pixel_range=self.dataset.metainfo.get("pixel_range"),
                    )
                ),
                checkpoint_sha256=file_sha256(checkpoint),
                labels_sha256=labels_sha256(self.names, image_labels),
                mmseg_fsr=__version__,
            )
            origin = dict(
                config=str(runner.cfg.filename),
                checkpoint=str(checkpoint),
                images=len(self.names),
            )
            folder = LabelFolder(Path(out), settings_of_labels, origin)
            return folder, folder.missing(self.names, overwrite)

        self.folder, self.missing = _on_first_process(plan)
        # Without repeated images, whatever the number of processes.
        sampler = dict(type="DefaultSampler", shuffle=False, round_up=False)
        items = ReadableItems(self.dataset, self.missing)
        super().__init__(
            runner,
            dict(
                dataloader, dataset=items, sampler=sampler, collate_fn=collate_readable
            ),
            evaluator,
            fp16=fp16,
        )

    def run(self) -> dict:
        """Writes the missing label maps, then the report, which has the scores."""
        _on_first_process(lambda: self.folder.begin(self.names, self.overwrite))
        metrics = super().run()
        # This also waits until every process has written its share.
        shares = all_gather_object(self.problems)
        self.problems = [problem for share in shares for problem in share]
        self.report = self._complete() if is_main_process() else None
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: ReadableBatch) -> None:
        """Predicts and writes the images of one batch that could be read."""
        self.runner.call_hook(
            "before_test_iter", batch_idx=idx, data_batch=data_batch.data
        )
        self.problems += data_batch.problems
        samples: Sequence[SegDataSample] = []
        if data_batch.data is not None:
            try:
                with autocast(enabled=self.fp16):
                    samples = self.runner.model.test_step(data_batch.data)
            except ImageTooSmallError as error:
                # Where the pipeline does not resize it, as that of --tta.
                self.problems += [
                    f"{path}: {error}" for path in _image_paths(data_batch.data)
                ]
        for sample in samples:
            self._label(sample)
        self.runner.call_hook(
            "after_test_iter",
            batch_idx=idx,
            data_batch=data_batch.data,
            outputs=samples,
        )

    def _label(self, sample: SegDataSample) -> None:
        """Writes the label map of a sample, which a CRF may refine."""
        labels = labels_of_sample(sample, len(self.mask_ids))
        classes = ids_with_background(labels)
        # With the background alone a CRF has nothing to decide.
        if self.crf is None or len(classes) == 1:
            label = label_map(sample, labels, self.source, self.bkg_thr)
        else:
            generator = unwrapped_model(self.runner).pseudo_label_generator
            threshold = generator.low_thr if self.source == "par" else self.bkg_thr
            doubtful = hides_unknown(sample, labels, self.source, threshold)
            logits = class_logits(sample, labels, self.source, self.bkg_thr)
            sample.seg_logits = PixelData(data=logits)
            sample.pred_sem_seg = PixelData(data=logits.argmax(0, keepdim=True))
            pixel_range = self.dataset.metainfo.get("pixel_range")
            refine_sample(self.crf, sample, pixel_range)
            label = classes[sample.pred_sem_seg.data[0]]
            # The CRF decides among the classes that the image is known to show.
            label = label.masked_fill(doubtful, IGNORE_INDEX)
        self._write(self.dataset.image_name(sample.img_path), label)

    def _write(self, name: str, label: Tensor) -> None:
        """Writes a label map with the ids and colours of the data set's masks."""
        ids = np.full(256, IGNORE_INDEX)
        ids[: len(self.mask_ids)] = self.mask_ids
        palette = np.zeros((max(self.mask_ids) + 1, 3), np.uint8)
        palette[self.mask_ids] = self.dataset.metainfo["palette"]
        path = self.folder.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, ids[label.cpu().numpy()], palette)

    def _thresholds(self, model: WeakSegmentor) -> dict[str, float]:
        """The thresholds that the source depends on."""
        if self.source == "cam":
            return dict(bkg_thr=self.bkg_thr)
        if self.source == "par":
            generator = model.pseudo_label_generator
            return dict(low_thr=generator.low_thr, high_thr=generator.high_thr)
        return {}

    def _find_masks(self, given: str | None) -> dict[str, Path]:
        """The masks that exist, by image name."""
        folder = given or self.dataset.data_prefix.get("seg_map_path")
        if folder is None:
            return {}
        found = find_masks(str(folder), self.names, self.dataset.seg_map_suffix)
        paths = dict(zip(self.names, map(Path, found), strict=True))
        masks = {name: path for name, path in paths.items() if path.is_file()}
        if not masks:
            setting = "--masks" if given else "the data set's data_prefix.seg_map_path"
            raise ValueError(
                f"{folder} has no mask of these images, such as "
                f"{paths[self.names[0]].name}: correct {setting}, or leave it out"
            )
        return masks

    def _complete(self) -> dict[str, Any]:
        """Counts and scores the files, and completes the manifest."""
        paths = {name: self.folder.path(name) for name in self.names}
        report = report_labels(
            {name: path for name, path in paths.items() if path.is_file()},
            self.dataset.metainfo["classes"],
            self.mask_ids,
            self.masks,
        )
        report["problems"] = self.problems
        self.folder.complete(report)
        return report


def _image_paths(batch: dict) -> list[str]:
    """The files of a batch, whose samples come once for each augmented version."""
    samples = batch["data_samples"]
    if not isinstance(samples[0], SegDataSample):
        samples = samples[0]
    return [sample.img_path for sample in samples]


def _on_first_process(function: Callable[[], Any]) -> Any:
    """All processes get its result, or its error."""
    outcome: list[Any] = [None, None]
    if is_main_process():
        try:
            outcome[0] = function()
        except (OSError, ValueError) as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]
