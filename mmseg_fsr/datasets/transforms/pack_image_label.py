"""Packing of a whole image with its image labels."""

from mmengine.structures import LabelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from .gt_label import gt_label_of


@TRANSFORMS.register_module()
class PackImageLabelSegInputs(PackSegInputs):
    """mmseg's ``PackSegInputs``, with the image's labels in the sample.

    Required beside mmseg's keys is ``gt_label``, a multi-hot array (K,). The sample
    gets ``gt_label.label``, float32 (K,), which says whose CAMs are wanted.
    Arguments are those of ``PackSegInputs``.
    """

    def transform(self, results: dict) -> dict:
        """Packs one image.

        Args:
            results: What the pipeline has made so far.

        Returns:
            ``dict(inputs=Tensor, data_samples=SegDataSample)``.

        Raises:
            ValueError: If there is no label.
        """
        label = gt_label_of(results)
        packed = super().transform(results)
        packed["data_samples"].gt_label = LabelData(label=label)
        return packed
