import copy

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.structures import PixelData
from mmseg.registry import EVALUATOR, METRICS
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_fsr.evaluation import refine_sample
from mmseg_fsr.models.postprocessing import DenseCRF

SETTINGS = dict(bi_rgb_std=50, num_iters=2)


@METRICS.register_module(force=True)
class SampleRecorder(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += copy.deepcopy(data_samples)

    def compute_metrics(self, results):
        return dict(samples=results)


@pytest.fixture
def make_sample(tmp_path):
    """Makes predictions for a picture on disk of its own: ``make_sample(number)``."""

    def make(number=0, size=(5, 7), classes=3):
        path = tmp_path / f"{number}.png"
        generator = np.random.default_rng(number)
        image = generator.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(image).save(path)
        logits = torch.from_numpy(generator.standard_normal((classes, *size))).float()
        return SegDataSample(
            metainfo=dict(img_path=str(path)),
            seg_logits=PixelData(data=logits),
            pred_sem_seg=PixelData(data=logits.argmax(0, keepdim=True)),
        )

    return make


def expected(sample):
    image = np.array(Image.open(sample.img_path)).transpose(2, 0, 1)
    probs = sample.seg_logits.data.softmax(0)[None]
    return DenseCRF(**SETTINGS)(torch.from_numpy(image[None]), probs)[0]


def test_metrics_and_later_hooks_get_refined_samples(make_sample):
    samples = [make_sample(number) for number in range(3)]
    before = [sample.pred_sem_seg.data for sample in samples]
    refined = [expected(sample) for sample in samples]
    crf = dict(type="DenseCRF", **SETTINGS)
    evaluator = EVALUATOR.build(
        dict(type="DenseCRFEvaluator", metrics=[dict(type="SampleRecorder")], crf=crf)
    )
    evaluator.process(samples[:2], {})
    evaluator.process(samples[2:], {})
    scored = evaluator.evaluate(3)["samples"]
    for sample, seen, probs in zip(samples, scored, refined, strict=True):
        torch.testing.assert_close(sample.seg_logits.data.softmax(0), probs)
        assert torch.equal(sample.seg_logits.data, seen["seg_logits"]["data"])
        label = probs.argmax(0, keepdim=True)
        for found in (sample.pred_sem_seg.data, seen["pred_sem_seg"]["data"]):
            assert torch.equal(found, label)
    changed = [
        not torch.equal(sample.pred_sem_seg.data, label)
        for sample, label in zip(samples, before, strict=True)
    ]
    assert any(changed)


def test_deep_images_are_scaled_as_the_data_set_says(make_sample):
    sample, deep = make_sample(), make_sample()
    grey = np.array(Image.open(sample.img_path).convert("L"))
    Image.fromarray(grey).save(sample.img_path)
    refine_sample(DenseCRF(**SETTINGS), sample)
    Image.fromarray((grey / 255).astype(np.float32)).save(
        path := deep.img_path.replace("png", "tif")
    )
    deep.set_metainfo(dict(img_path=path))
    crf = dict(type="DenseCRF", **SETTINGS)
    evaluator = EVALUATOR.build(dict(type="DenseCRFEvaluator", metrics=[], crf=crf))
    with pytest.raises(ValueError, match=r"0\.tif has float32 pixels.* pixel_range="):
        evaluator.process([deep])
    evaluator.dataset_meta = dict(pixel_range=(0, 1))
    evaluator.process([deep])
    assert torch.equal(deep.seg_logits.data, sample.seg_logits.data)


def test_the_papers_crf_is_the_default():
    evaluator = EVALUATOR.build(dict(type="DenseCRFEvaluator", metrics=[]))
    assert evaluator.crf.bi_xy_std == DenseCRF().bi_xy_std


def test_impossible_classes_have_finite_logits(make_sample):
    sample, certain = make_sample(), torch.zeros(1, 3, 5, 7)
    certain[:, 1] = 1
    refine_sample(lambda images, probs: certain, sample)
    assert sample.seg_logits.data.isfinite().all()
    torch.testing.assert_close(sample.seg_logits.data.softmax(0), certain[0])


def test_half_precision_logits_become_float32_probabilities(make_sample):
    sample = make_sample()
    sample.seg_logits = PixelData(data=sample.seg_logits.data.half())
    refine_sample(DenseCRF(num_iters=1), sample)
    assert sample.seg_logits.data.dtype == torch.float32


def without_path(sample):
    del sample.img_path


def of_other_logits(sample):
    sample.seg_logits = PixelData(data=sample.seg_logits.data.flip(0))


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        ({}, without_path, "the sample has no img_path"),
        (
            {},
            of_other_logits,
            r"0\.png: pred_sem_seg was not made of seg_logits.*type='FSRTTAModel'",
        ),
        (dict(classes=1), None, r"0\.png: a dense CRF needs two or more classes"),
        (
            dict(size=(7, 5)),
            None,
            r"0\.png: the image has 5 x 7 pixels, but seg_logits 7 x 5",
        ),
    ],
)
def test_what_cannot_be_refined_is_named(make_sample, settings, change, message):
    sample = make_sample(**settings)
    if change is not None:
        change(sample)
    with pytest.raises(ValueError, match=message):
        refine_sample(DenseCRF(), sample)
