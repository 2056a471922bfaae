"""Test-time augmentation as the paper infers."""

from collections import defaultdict

import torch
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder, SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


@MODELS.register_module()
class FSRTTAModel(SegTTAModel):
    """Sums the logits of a mirror pair and takes the maximum over scales.

    FSR (AAAI 2024), inference; mmseg's ``SegTTAModel`` averages probabilities
    instead.
    """

    def test_step(self, data: dict[str, list]) -> list[SegDataSample]:
        """Predicts every version of a batch of images and merges them.

        CAMs and what else ``test_cfg`` asks for come from the first version alone:
        of the others only the segmentation is merged.

        Args:
            data: ``inputs`` and ``data_samples``, each a list of versions, each
                version a batch.

        Returns:
            Merged samples.
        """
        first, *others = (
            dict(zip(data, version, strict=True))
            for version in zip(*data.values(), strict=True)
        )
        predictions = [self.module.test_step(first)]
        for version in others:
            batch = self.module.data_preprocessor(version, False)
            predictions.append(EncoderDecoder.predict(self.module, **batch))
        return self.merge_preds(list(zip(*predictions, strict=True)))

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
