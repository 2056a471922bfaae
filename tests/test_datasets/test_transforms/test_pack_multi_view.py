import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import TRANSFORMS
from mmseg.structures import SegDataSample


def results(views=2, **kwargs):
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (6, 5, 3), dtype=np.uint8) for _ in range(views)]
    label = np.array([1, 0, 1], np.float32)
    return dict(
        img=images, gt_label=label, img_path="x.jpg", ori_shape=(9, 9), **kwargs
    )


@pytest.fixture
def pack():
    return TRANSFORMS.build(dict(type="PackMultiViewSegInputs"))


@pytest.mark.parametrize("views", [1, 2, 3])
def test_views_are_numbered_tensors(pack, views):
    given = results(views)
    packed = pack(given)

    assert list(packed["inputs"]) == [f"view{n}" for n in range(1, views + 1)]
    for view, image in zip(packed["inputs"].values(), given["img"], strict=True):
        assert view.dtype == torch.uint8
        assert view.is_contiguous()
        assert torch.equal(view.permute(1, 2, 0), torch.from_numpy(image))


def test_sample_has_labels_and_meta_information(pack):
    given = results(3, img_shape=(9, 9))
    given["img"][2] = given["img"][2][:4]  # a local crop
    sample = pack(given)["data_samples"]

    assert isinstance(sample, SegDataSample)
    assert sample.gt_label.label.dtype == torch.float32
    assert sample.gt_label.label.tolist() == [1, 0, 1]
    assert sample.metainfo == dict(
        img_path="x.jpg", ori_shape=(9, 9), img_shape=(6, 5), num_labels=2
    )
    assert "gt_sem_seg" not in sample


def test_flipped_views_with_negative_strides(pack):
    given = results()
    given["img"] = [image[:, ::-1] for image in given["img"]]
    view = pack(given)["inputs"]["view2"]

    assert torch.equal(view.permute(1, 2, 0), torch.from_numpy(given["img"][1].copy()))


def test_pseudo_collate_gives_lists_by_view(pack):
    batch = pseudo_collate([pack(results()) for _ in range(3)])

    assert [len(views) for views in batch["inputs"].values()] == [3, 3]
    assert len(batch["data_samples"]) == 3


def test_single_image_is_refused(pack):
    given = results()
    given["img"] = given["img"][0]
    with pytest.raises(ValueError, match=r"list of views .*mmpretrain\.MultiView"):
        pack(given)
