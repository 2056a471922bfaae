import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_fsr.checkpoints import convert_official_state_dict
from mmseg_fsr.models.pseudo_labels import CAMs
from mmseg_fsr.models.segmentors import FSRTTAModel, labels_of_sample
from mmseg_fsr.models.segmentors.fsr_tta_model import merge_cams
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


def plain_cams(versions, metas, size):
    """Multi-scale CAMs of one image by loops over scales, classes and versions."""
    total = 0
    for scale in sorted({meta["img_shape"] for meta in metas}):
        strongest = None
        for maps, meta in zip(versions, metas, strict=True):
            if meta["img_shape"] == scale:
                if meta["flip"]:
                    maps = maps.flip(-1)
                maps = F.interpolate(maps[None], size, mode="bilinear")[0]
                strongest = maps if strongest is None else maps.maximum(strongest)
        total = total + strongest
    for maps in total:
        maps -= maps.min()
        maps /= maps.max() + 1e-5
    return total


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 2, 1)])
def test_cams_of_mirror_pairs_and_scales(order):
    metas = [
        dict(img_shape=(4 * scale, 6 * scale), flip=flip, flip_direction="horizontal")
        for scale in (1, 2)
        for flip in (False, True)
    ]
    versions = [
        torch.rand(1, 3, *(side // 2 for side in m["img_shape"])) for m in metas
    ]
    versions, metas = [versions[i] for i in order], [metas[i] for i in order]
    merged = merge_cams([CAMs(maps, 2 * maps) for maps in versions], metas, (4, 6))
    expected = plain_cams([maps[0] for maps in versions], metas, (4, 6))
    torch.testing.assert_close(merged.top[0], expected)
    torch.testing.assert_close(merged.aux[0], expected, atol=2e-5, rtol=0)


def augmented_batch():
    """Two images at one scale, mirrored, and at twice the size."""
    small = torch.randint(256, (2, 3, *SIZE))
    large = torch.randint(256, (2, 3, 2 * SIZE[0], 2 * SIZE[1]))
    inputs = [list(small), list(small.flip(3)), list(large)]
    samples = [evaluation_samples(2) for _ in inputs]
    for version, images in zip(samples, inputs, strict=True):
        for sample_, image in zip(version, images, strict=True):
            sample_.set_metainfo(dict(img_shape=tuple(image.shape[1:])))
    for sample_ in samples[1]:
        sample_.set_metainfo(dict(flip=True, flip_direction="horizontal"))
    return dict(inputs=inputs, data_samples=samples)


def passed_and_merged(segmentor, data):
    """Features of each version, and the CAMs of these passes together."""
    versions = [
        segmentor.data_preprocessor(dict(inputs=x, data_samples=y))
        for x, y in zip(*copy.deepcopy(data).values(), strict=True)
    ]
    features = [segmentor.backbone(v["inputs"], up_to="feat") for v in versions]
    cams = merge_cams(
        [segmentor.cam_head.cams(x) for x in features],
        [v["data_samples"][0].metainfo for v in versions],
        SIZE,
    )
    return features, cams


@torch.no_grad()
@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_cams_come_from_the_passes_of_the_segmentation(mode):
    test_cfg = dict(mode=mode, cams=True)
    if mode == "slide":
        test_cfg |= dict(crop_size=SIZE, stride=SIZE)
    segmentor = build_tiny(test_cfg=test_cfg).eval()
    data = augmented_batch()
    passes = []
    segmentor.backbone.register_forward_hook(lambda *args: passes.append(args))
    merged = FSRTTAModel(module=segmentor).test_step(copy.deepcopy(data))
    if mode == "whole":
        assert len(passes) == len(data["inputs"])

    segmentor.test_cfg.cams = False
    segmentation = FSRTTAModel(module=segmentor).test_step(copy.deepcopy(data))
    features, cams = passed_and_merged(segmentor, data)
    scores, _ = segmentor.cam_head(features[0])
    for i, (actual, wanted) in enumerate(zip(merged, segmentation, strict=True)):
        assert torch.equal(actual.seg_logits.data, wanted.seg_logits.data)
        shown = labels_of_sample(actual, segmentor.num_classes)[:, None, None]
        expected = F.interpolate(
            (cams.top[i] * shown)[None], actual.ori_shape, mode="bilinear"
        )
        torch.testing.assert_close(actual.cams.data, expected[0])
        torch.testing.assert_close(actual.pred_label.score, scores[i])
        assert actual.pseudo_sem_seg.data.shape == (1, *actual.ori_shape)


@torch.no_grad()
def test_an_affinity_spreads_the_merged_cams():
    test_cfg = dict(mode="whole", cams=True)
    generator = dict(type="CAMPseudoLabelGenerator", scales=(1.0,))
    affinity = dict(type="FeatureAffinity", power=2, steps=1)
    plain = build_tiny(test_cfg=test_cfg, pseudo_label_generator=generator).eval()
    spreading = build_tiny(
        test_cfg=test_cfg, pseudo_label_generator=dict(generator, affinity=affinity)
    ).eval()
    spreading.load_state_dict(plain.state_dict())
    data = augmented_batch()
    merged, _ = FSRTTAModel(module=plain).test_step(copy.deepcopy(data))
    found, _ = FSRTTAModel(module=spreading).test_step(copy.deepcopy(data))
    assert torch.equal(found.aux_cams.data, merged.aux_cams.data)
    features, cams = passed_and_merged(plain, data)
    spread = spreading.pseudo_label_generator.affinity(cams.top, features[0].feat)
    shown = labels_of_sample(found, plain.num_classes)[:, None, None]
    expected = F.interpolate(
        (spread[0] * shown)[None], found.ori_shape, mode="bilinear"
    )
    torch.testing.assert_close(found.cams.data, expected[0], atol=1e-4, rtol=0)


@torch.no_grad()
def test_cams_do_not_depend_on_whether_a_mirror_image_comes_first():
    segmentor = build_tiny(test_cfg=dict(mode="whole", cams=True)).eval()
    data = augmented_batch()
    expected = FSRTTAModel(module=segmentor).test_step(copy.deepcopy(data))
    swapped = {key: [data[key][i] for i in (1, 0, 2)] for key in data}
    found = FSRTTAModel(module=segmentor).test_step(copy.deepcopy(swapped))
    for actual, wanted in zip(found, expected, strict=True):
        for field in ("cams", "pseudo_sem_seg", "seg_logits"):
            assert torch.equal(actual.get(field).data, wanted.get(field).data), field

    mirrored = {key: [data[key][1]] for key in data}
    with pytest.raises(ValueError, match="has mirror images alone"):
        FSRTTAModel(module=segmentor).test_step(mirrored)


@torch.no_grad()
def test_without_cams_nothing_but_the_segmentation_is_computed(monkeypatch):
    segmentor = build_tiny(test_cfg=dict(mode="whole", cams=False)).eval()
    for part in ("cams", "add_cams"):
        monkeypatch.setattr(segmentor, part, None)
    merged = FSRTTAModel(module=segmentor).test_step(augmented_batch())
    assert all("cams" not in sample_ for sample_ in merged)
