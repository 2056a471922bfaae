import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_fsr.checkpoints import convert_official_state_dict
from mmseg_fsr.models.segmentors import FSRTTAModel
from tests.reference.golden_model import golden_model_cfg
from tests.support.tiny_segmentor import SIZE, build_tiny, evaluation_samples

SCALES = (1.0, 1.25, 1.5)


def merge(samples):
    return FSRTTAModel.merge_preds(None, samples)


@torch.no_grad()
def test_reference(golden):
    segmentor = MODELS.build(ConfigDict(golden_model_cfg(golden.meta))).eval()
    official = convert_official_state_dict(golden.state_dict("student")).tensors
    segmentor.load_state_dict(official, strict=False)
    image = golden["view1"][:1]
    versions = []
    for scale in SCALES:
        size = tuple(int(side * scale) for side in image.shape[2:])
        scaled = F.interpolate(image, size, mode="bilinear", align_corners=False)
        for flip in (False, True):
            metainfo = dict(
                img_shape=size,
                ori_shape=tuple(image.shape[2:]),
                flip=flip,
                flip_direction="horizontal" if flip else None,
            )
            versions += segmentor.predict(
                scaled.flip(3) if flip else scaled, [SegDataSample(metainfo=metainfo)]
            )
    (merged,) = merge([versions])
    expected = golden["infer/ms_flip_logits"][0]
    torch.testing.assert_close(merged.seg_logits.data, expected, atol=1e-5, rtol=0)
    differing = merged.pred_sem_seg.data[0] != expected.argmax(0)
    assert differing.float().mean() <= 1e-3


def sample(value, img_shape):
    logits = torch.as_tensor(value).float().view(2, 1, 1)
    return SegDataSample(
        metainfo=dict(img_shape=img_shape, ori_shape=(1, 1)),
        seg_logits=PixelData(data=logits),
    )


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 2, 1)])
def test_sum_over_mirror_pairs_and_maximum_over_scales(order):
    versions = [
        sample([1, 5], (8, 8)),
        sample([2, -9], (8, 8)),
        sample([1, -1], (16, 16)),
        sample([1, 3], (16, 16)),
    ]
    (merged,) = merge([[versions[i] for i in order]])
    # (1 + 2, 5 - 9) and (1 + 1, -1 + 3)
    assert merged.seg_logits.data.flatten().tolist() == [3, 2]
    assert merged.pred_sem_seg.data.tolist() == [[[0]]]


def test_images_are_merged_one_by_one():
    merged = merge([[sample([1, 0], (8, 8))], [sample([0, 1], (8, 8))]])
    assert [m.pred_sem_seg.data.item() for m in merged] == [0, 1]


@torch.no_grad()
def test_cams_of_the_first_version_alone(monkeypatch):
    segmentor = build_tiny(test_cfg=dict(mode="whole", cams=True)).eval()
    asked = []
    cams = segmentor.cams
    monkeypatch.setattr(
        segmentor,
        "cams",
        lambda images, **own: asked.append(len(images)) or cams(images, **own),
    )
    small, large = (
        torch.randint(256, (2, 3, *size)) for size in (SIZE, (2 * SIZE[0], 2 * SIZE[1]))
    )
    inputs = [list(small), list(small.flip(3)), list(large)]
    samples = [evaluation_samples(2) for _ in inputs]
    for version, images in zip(samples, inputs, strict=True):
        for sample_, image in zip(version, images, strict=True):
            sample_.set_metainfo(dict(img_shape=tuple(image.shape[1:])))
    for sample_ in samples[1]:
        sample_.set_metainfo(dict(flip=True, flip_direction="horizontal"))
    model = FSRTTAModel(module=segmentor)
    data = dict(inputs=inputs, data_samples=samples)
    merged = model.test_step(copy.deepcopy(data))
    assert asked == [2]
    monkeypatch.undo()

    versions = [
        segmentor.test_step(dict(inputs=x, data_samples=y))
        for x, y in zip(inputs, samples, strict=True)
    ]
    expected = merge(list(zip(*copy.deepcopy(versions), strict=True)))
    for actual, wanted, first in zip(merged, expected, versions[0], strict=True):
        assert torch.equal(actual.seg_logits.data, wanted.seg_logits.data)
        assert torch.equal(actual.cams.data, first.cams.data)
