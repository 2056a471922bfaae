"""Test-time augmentation as the paper infers."""

from collections import defaultdict
from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_fsr.models.pseudo_labels import CAMs, normalize_cams

from .cam_segmentor import flip_back, labels_of_sample


def merge_cams(cams: Sequence[CAMs], metas: Sequence[dict], size: tuple) -> CAMs:
    """Merges the CAMs of augmented versions of images.

    As the multi-scale CAMs of training: the maximum over the versions of one scale, the
    sum over scales, brought to 0..1.

    Args:
        cams: CAMs (B, K, h, w) of each version.
        metas: Metadata of each version: ``img_shape``, one for each scale, ``flip`` and
            ``flip_direction``.
        size: (H, W) at which versions are compared.

    Returns:
        CAMs (B, K, H, W) in 0..1, float32.
    """

    def restore(maps: Tensor, meta: dict) -> Tensor:
        maps = flip_back(maps.float(), meta)
        return F.interpolate(maps, size, mode="bilinear", align_corners=False)

    scales = defaultdict(list)
    for version, meta in zip(cams, metas, strict=True):
        restored = version.map(lambda maps, meta=meta: restore(maps, meta))
        scales[tuple(meta["img_shape"])].append(restored)
    strongest = [
        reduce(lambda one, other: one.map(torch.maximum, other), versions)
        for versions in scales.values()
    ]
    total = reduce(lambda one, other: one.map(torch.add, other), strongest)
    return total.map(normalize_cams)


@MODELS.register_module()
class FSRTTAModel(SegTTAModel):
    """Sums the logits of a mirror pair and takes the maximum over scales.

    FSR (AAAI 2024), inference; mmseg's ``SegTTAModel`` averages probabilities
    instead.
    """

    def test_step(self, data: dict[str, list]) -> list[SegDataSample]:
        """Predicts every version of a batch of images and merges them.

        With ``test_cfg.cams`` of a :class:`CAMSegmentor` the CAMs come from the same
        passes, so their scales are those of the augmentation. They are compared with
        the first version that is no mirror image.

        Args:
            data: ``inputs`` and ``data_samples``, each a list of versions, each
                version a batch.

        Returns:
            Merged samples.

        Raises:
            ValueError: If CAMs are wanted and all versions are mirror images.
        """
        model = self.module
        batches = [
            model.data_preprocessor(dict(zip(data, version, strict=True)), False)
            for version in zip(*data.values(), strict=True)
        ]
        first_samples = batches[0]["data_samples"]
        if not (hasattr(model, "gives_cams") and model.gives_cams(first_samples)):
            predictions = [model.predict(**batch) for batch in batches]
            return self.merge_preds(list(zip(*predictions, strict=True)))
        batches.sort(key=lambda batch: _is_mirrored(batch["data_samples"]))
        first, first_samples = batches[0]["inputs"], batches[0]["data_samples"]
        if _is_mirrored(first_samples):
            raise ValueError(
                "tta_pipeline has mirror images alone, with which CAMs cannot be "
                "compared: let it keep a version without RandomFlip, or with prob=0.0"
            )
        labels = torch.stack(
            [labels_of_sample(sample, model.num_classes) for sample in first_samples]
        )
        predictions, features = zip(
            *(
                model.predict_with_features(batch["inputs"], batch["data_samples"])
                for batch in batches
            ),
            strict=True,
        )
        cams = merge_cams(
            [model.cam_head.cams(version) for version in features],
            [samples[0].metainfo for samples in predictions],
            tuple(first.shape[-2:]),
        )
        cams = model.spread(cams, first, features[0])
        merged = self.merge_preds(list(zip(*predictions, strict=True)))
        model.add_cams(first, merged, labels, features[0], cams)
        return merged

    def merge_preds(
        self, data_samples_list: list[list[SegDataSample]]
    ) -> list[SegDataSample]:
        """Merges the predictions of each image's augmented versions.

        Args:
            data_samples_list: For each image the samples of its versions, with
                ``seg_logits`` (K + 1, H, W) of the original size. Versions of one
                ``img_shape`` are a mirror pair.

        Returns:
            One sample for each image with merged ``seg_logits`` and
            ``pred_sem_seg``.
        """
        merged = []
        for samples in data_samples_list:
            scales = defaultdict(list)
            for sample in samples:
                scales[tuple(sample.img_shape)].append(sample.seg_logits.data)
            logits = torch.stack([sum(pair) for pair in scales.values()]).amax(0)
            result = samples[0]
            result.seg_logits = PixelData(data=logits)
            result.pred_sem_seg = PixelData(data=logits.argmax(0, keepdim=True))
            merged.append(result)
        return merged


def _is_mirrored(samples: Sequence[SegDataSample]) -> bool:
    return bool(samples[0].metainfo.get("flip"))


def require_merged_logits(model: nn.Module) -> None:
    """Refuses mmseg's ``SegTTAModel``, which merges labels but not logits.

    Raises:
        ValueError: If it is one, or one that merges as it does.
    """
    if isinstance(model, SegTTAModel) and (
        type(model).merge_preds is SegTTAModel.merge_preds
    ):
        raise ValueError(
            f"tta_model.type={type(model).__name__} merges labels and no logits, which "
            "are needed here: use FSRTTAModel, or no augmentation"
        )
