"""Packs images, or views of one, with their image labels."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import LabelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_fsr.utils.label_ids import UNKNOWN


def _gt_label(results: dict) -> Tensor:
    """Multi-hot labels (K,) of an image, float32, -1 where unknown."""
    if "gt_label" not in results:
        raise ValueError(
            f"image {results.get('img_path')} comes without 'gt_label': set the "
            "`label_file` of an image-label data set"
        )
    return torch.as_tensor(results["gt_label"], dtype=torch.float32)


def _label_counts(label: Tensor) -> dict[str, int]:
    """How many classes are shown or unknown, and how many nobody looked for."""
    unknown = label == UNKNOWN
    return dict(num_labels=int((label != 0).sum()), num_unknown=int(unknown.sum()))


@TRANSFORMS.register_module()
class PackImageLabelSegInputs(PackSegInputs):
    """mmseg's ``PackSegInputs``, with the image's labels in the sample.

    Besides mmseg's keys it takes ``gt_label``, a multi-hot array (K,), -1 where nobody
    looked. The sample gets ``gt_label.label``, float32 (K,), which says of which
    classes CAMs are computed; images that are predicted alone come without.
    ``num_labels`` is the number of classes that are shown or unknown, ``num_unknown``
    that of the unknown ones; of an image with a mask alone ``num_labels`` counts the
    mask's ids. Arguments are those of ``PackSegInputs``.
    """

    def transform(self, results: dict) -> dict:
        """Packs one image, as mmseg does, and its labels, if it has some."""
        packed = super().transform(results)
        sample = packed["data_samples"]
        if "gt_label" in results:
            label = _gt_label(results)
            sample.gt_label = LabelData(label=label)
            sample.set_metainfo(_label_counts(label))
        elif "gt_seg_map" in results:
            ids = np.unique(results["gt_seg_map"])
            sample.set_metainfo(dict(num_labels=len(ids), num_unknown=0))
        return packed


@TRANSFORMS.register_module()
class PackMultiViewSegInputs(BaseTransform):
    """Packs the views that mmpretrain's ``MultiView`` made, and the image's labels.

    Required keys are ``img``, a list of arrays (H, W, 3), and ``gt_label``, a
    multi-hot array (K,), -1 where nobody looked. The result is

    - ``inputs``: ``dict(view1=..., view2=...)``, tensors (3, H, W) of the views'
      dtype, numbered from 1;
    - ``data_samples``: a ``SegDataSample`` with ``gt_label.label``, float32 (K,),
      and the meta information. ``img_shape`` is that of the first view,
      ``num_labels`` the number of the image's classes that are shown or unknown, and
      ``num_unknown`` that of the unknown ones.

    Args:
        meta_keys: What to keep of the results as meta information. Defaults to
            ``('img_path', 'ori_shape', 'img_shape')``.
    """

    def __init__(
        self, meta_keys: Sequence[str] = ("img_path", "ori_shape", "img_shape")
    ) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Packs the views and labels of one image.

        Raises:
            ValueError: If there is a single image instead of a list of views, or
                no label.
        """
        views = results["img"]
        if not isinstance(views, list):
            raise ValueError(
                "PackMultiViewSegInputs expects a list of views in 'img', got "
                f"{type(views).__name__}: put `mmpretrain.MultiView` before it"
            )
        label = _gt_label(results)
        results = {**results, "img_shape": views[0].shape[:2]}
        meta = {key: results[key] for key in self.meta_keys if key in results}
        meta |= _label_counts(label)
        sample = SegDataSample(metainfo=meta, gt_label=LabelData(label=label))
        inputs = {
            f"view{number}": torch.from_numpy(
                np.ascontiguousarray(view.transpose(2, 0, 1))
            )
            for number, view in enumerate(views, start=1)
        }
        return dict(inputs=inputs, data_samples=sample)
