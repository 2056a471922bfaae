import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image

from mmseg_fsr.engine.loops import RefinementQueue

from .late_crf import LateCRF, mirrored


@pytest.fixture
def delivered():
    return []


@pytest.fixture
def queue(delivered):
    def deliver(samples, *context):
        delivered.append(([sample.number for sample in samples], *context))

    return RefinementQueue(LateCRF(max_pending=2), deliver)


def test_no_more_images_wait_than_the_engine_needs(queue, delivered, make_sample):
    crf = queue._crf
    for index in range(5):
        queue.put([make_sample(index)], index, f"batch {index}")
        assert crf.pending == min(index + 1, 2)
        assert delivered == [([i], i, f"batch {i}") for i in range(index - 1)]
    queue.flush()
    assert delivered == [([i], i, f"batch {i}") for i in range(5)]
    queue.flush()
    assert len(delivered) == 5


def test_batches_keep_their_order_whichever_is_done_first(
    queue, delivered, make_sample
):
    queue._crf.limit = 10
    queue.put([make_sample(0), make_sample(1)], 0)
    queue.put([make_sample(2)], 1)
    queue._crf.futures[2].finish()
    queue._crf.futures[0].finish()
    queue.put([make_sample(3)], 2)
    # The second image of the first batch is still out.
    assert delivered == []
    queue._crf.futures[1].finish()
    queue.put([make_sample(4)], 3)
    assert delivered == [([0, 1], 0), ([2], 1)]
    queue.flush()
    assert delivered == [([0, 1], 0), ([2], 1), ([3], 2), ([4], 3)]


def test_samples_hold_the_logarithms_and_the_classes(make_sample):
    sample = make_sample(4)
    probs = sample.seg_logits.data.softmax(0)
    image = torch.from_numpy(np.array(Image.open(sample.img_path))).permute(2, 0, 1)
    want = mirrored(image, probs)
    results = []
    queue = RefinementQueue(LateCRF(max_pending=0), results.append)
    queue.put([sample])
    ((got,),) = results
    torch.testing.assert_close(got.seg_logits.data.exp(), want)
    assert torch.equal(got.pred_sem_seg.data, want.argmax(0, keepdim=True))
    assert got.pred_sem_seg.data.dtype == torch.int64


def test_impossible_classes_have_finite_logits(make_sample, monkeypatch):
    crf = LateCRF(max_pending=0)
    certain = torch.zeros(3, 5, 7)
    certain[1] = 1
    monkeypatch.setattr(
        "tests.test_engine.test_loops.late_crf.mirrored", lambda *_: certain
    )
    sample = make_sample(0)
    RefinementQueue(crf, lambda samples: None).put([sample])
    assert sample.seg_logits.data.isfinite().all()
    torch.testing.assert_close(sample.seg_logits.data.softmax(0), certain)


def test_half_precision_logits_become_float32_probabilities(make_sample):
    sample = make_sample(0)
    sample.seg_logits = PixelData(data=sample.seg_logits.data.half())
    RefinementQueue(LateCRF(max_pending=0), lambda samples: None).put([sample])
    assert sample.seg_logits.data.dtype == torch.float32


def _without_path(sample):
    del sample.img_path


def _of_other_logits(sample):
    sample.seg_logits = PixelData(data=sample.seg_logits.data.flip(0))


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        (dict(), _without_path, "the sample has no img_path"),
        (dict(), _of_other_logits, r"0\.png: pred_sem_seg was not made of seg_logits"),
        (dict(classes=1), None, r"0\.png: a dense CRF needs two or more classes"),
        (
            dict(size=(7, 5)),
            None,
            r"0\.png: the image has 5 x 7 pixels, but seg_logits 7 x 5",
        ),
    ],
)
def test_what_cannot_be_refined_is_named(queue, make_sample, settings, change, message):
    sample = make_sample(0, **settings)
    if change is not None:
        change(sample)
    with pytest.raises(ValueError, match=message):
        queue.put([sample])
