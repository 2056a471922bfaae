import numpy as np
import pytest
import torch
from mmseg.registry import TRANSFORMS
from mmseg.structures import SegDataSample


def results(views=None, **kwargs):
    """What a pipeline has made of an image, or of so many views of one."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (views or 1, 6, 5, 3), dtype=np.uint8)
    label = np.array([1, 0, 1], np.int64)
    image = list(images) if views else images[0]
    return dict(img=image, gt_label=label, img_path="x.jpg", ori_shape=(9, 9), **kwargs)


def pack(kind, given):
    return TRANSFORMS.build(dict(type=kind))(given)


def pack_views(given):
    return pack("PackMultiViewSegInputs", given)


@pytest.mark.parametrize(
    ("kind", "views"),
    [("PackImageLabelSegInputs", None), ("PackMultiViewSegInputs", 2)],
)
def test_labels_are_a_float_tensor(kind, views):
    label = pack(kind, results(views))["data_samples"].gt_label.label
    assert label.dtype == torch.float32
    assert label.tolist() == [1, 0, 1]


def test_training_needs_labels_and_prediction_does_not():
    given = results(2)
    del given["gt_label"]
    with pytest.raises(ValueError, match=r"x\.jpg comes without 'gt_label': set the"):
        pack_views(given)
    given = results()
    del given["gt_label"]
    sample = pack("PackImageLabelSegInputs", given)["data_samples"]
    assert "gt_label" not in sample
    assert "num_labels" not in sample


def test_image_is_packed_as_by_mmseg():
    packed = pack("PackImageLabelSegInputs", results(img_shape=(6, 5)))
    assert packed["inputs"].shape == (3, 6, 5)
    assert packed["data_samples"].ori_shape == (9, 9)


@pytest.mark.parametrize("views", [1, 2, 3])
def test_views_are_numbered_tensors(views):
    given = results(views)
    given["img"][-1] = given["img"][-1][:, ::-1]  # flipped: negative strides
    packed = pack_views(given)
    assert list(packed["inputs"]) == [f"view{n}" for n in range(1, views + 1)]
    for view, image in zip(packed["inputs"].values(), given["img"], strict=True):
        assert view.dtype == torch.uint8
        assert view.is_contiguous()
        assert np.array_equal(view.permute(1, 2, 0), image)


def test_sample_has_meta_information():
    given = results(3, img_shape=(9, 9))
    given["img"][2] = given["img"][2][:4]  # a local crop
    sample = pack_views(given)["data_samples"]
    assert isinstance(sample, SegDataSample)
    assert sample.metainfo == dict(
        img_path="x.jpg",
        ori_shape=(9, 9),
        img_shape=(6, 5),
        num_labels=2,
        num_unknown=0,
    )
    assert "gt_sem_seg" not in sample


def test_unknown_labels_are_counted():
    given = results(2)
    given["gt_label"] = np.array([1, -1, 0, -1])
    sample = pack_views(given)["data_samples"]
    assert sample.gt_label.label.tolist() == [1, -1, 0, -1]
    assert (sample.num_labels, sample.num_unknown) == (3, 2)
    given = results(img_shape=(6, 5)) | dict(gt_label=np.array([1, -1, 0, 1]))
    sample = pack("PackImageLabelSegInputs", given)["data_samples"]
    assert sample.gt_label.label.tolist() == [1, -1, 0, 1]
    assert (sample.num_labels, sample.num_unknown) == (3, 1)


def test_ids_of_a_mask_bound_the_number_of_classes():
    given = results(img_shape=(2, 3))
    del given["gt_label"]
    given["gt_seg_map"] = np.array([[0, 3, 3], [1, 255, 0]], np.uint8)
    sample = pack("PackImageLabelSegInputs", given)["data_samples"]
    assert (sample.num_labels, sample.num_unknown) == (4, 0)


def test_single_image_is_refused():
    with pytest.raises(ValueError, match=r"list of views .*mmpretrain\.MultiView"):
        pack_views(results())
