import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.registry import METRICS
from mmseg.structures import SegDataSample

from mmseg_fsr.evaluation import CAMIoUMetric
from mmseg_fsr.evaluation.cam_iou_metric import configured_bkg_thr

SIZES = [(9, 7), (6, 8), (12, 5)]


def make_samples(num_classes, field="cams", absent=()):
    """Images with CAMs of their own classes; ``num_classes`` with background."""
    samples = []
    for i, size in enumerate(SIZES):
        present = torch.rand(num_classes - 1) < 0.6
        present[i % (num_classes - 1)] = True
        for k in absent:
            present[k - 1] = False
        # Twentieths: values equal to a threshold occur.
        cams = torch.randint(0, 21, (num_classes - 1, *size)) / 20
        cams = cams * present[:, None, None]
        gt = torch.randint(0, num_classes, (1, *size))
        for k in absent:
            gt[gt == k] = 0
        gt[torch.rand(1, *size) < 0.1] = 255
        sample = SegDataSample(metainfo=dict(img_path=f"{i}.jpg"))
        sample.set_data({field: PixelData(data=cams), "gt_sem_seg": PixelData(data=gt)})
        samples.append(sample)
    return samples


def slow_miou(samples, num_classes, threshold, field="cams"):
    intersection, union = np.zeros(num_classes), np.zeros(num_classes)
    for sample in samples:
        cams = getattr(sample, field).data.numpy()
        gt = sample.gt_sem_seg.data[0].numpy()
        for y, x in np.ndindex(*gt.shape):
            if gt[y, x] == 255:
                continue
            strongest = cams[:, y, x].argmax()
            above = cams[strongest, y, x] > np.float32(threshold)
            predicted = strongest + 1 if above else 0
            intersection[predicted] += predicted == gt[y, x]
            for k in {predicted, int(gt[y, x])}:
                union[k] += 1
    seen = union > 0
    return 100 * (intersection[seen] / union[seen]).mean()


def evaluate(metric, samples, num_classes):
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=[f"class {k}" for k in range(num_classes)])
    evaluator.process(samples[:2])
    evaluator.process(samples[2:])
    return evaluator.evaluate(len(samples))


@pytest.mark.parametrize(("num_classes", "absent"), [(2, ()), (4, ()), (6, (2, 5))])
# The fixed threshold takes no part in the sweep.
@pytest.mark.parametrize("thresholds", [(0.1, 0.25, 0.5, 0.75), (0.95,)])
def test_matches_slow_version(num_classes, absent, thresholds):
    samples = make_samples(num_classes, field="aux_cams", absent=absent)
    settings = dict(field="aux_cams", prefix="teacher/aux_cam", thresholds=thresholds)
    metric = METRICS.build(dict(type="CAMIoUMetric", bkg_thr=0.4, **settings))
    scores = evaluate(metric, samples, num_classes)
    assert np.isfinite(list(scores.values())).all()
    scores = {k.removeprefix("teacher/aux_cam/"): v for k, v in scores.items()}
    fixed = slow_miou(samples, num_classes, 0.4, "aux_cams")
    assert scores["mIoU"] == pytest.approx(fixed, abs=0.006)
    sweep = {t: slow_miou(samples, num_classes, t, "aux_cams") for t in thresholds}
    assert scores["best_mIoU"] == pytest.approx(max(sweep.values()), abs=0.006)
    assert scores["best_thr"] == max(sweep, key=sweep.get)


@pytest.mark.parametrize("ignored", [0, 2])
def test_any_label_can_be_ignored(ignored):
    samples = make_samples(4)
    for sample in samples:
        gt = sample.gt_sem_seg.data
        gt[gt == 255] = 1
    actual = evaluate(CAMIoUMetric(ignore_index=ignored), samples, 4)
    for sample in samples:
        gt = sample.gt_sem_seg.data
        gt[gt == ignored] = 255
    assert actual == evaluate(CAMIoUMetric(), samples, 4)


def test_perfect_cams_score_100():
    gt = torch.randint(0, 4, (1, 8, 8))
    cams = torch.stack([(gt[0] == k).float() * 0.9 for k in (1, 2, 3)])
    sample = SegDataSample(
        cams=PixelData(data=cams), gt_sem_seg=PixelData(data=gt.to(torch.uint8))
    )
    scores = evaluate(CAMIoUMetric(), [sample], 4)
    assert scores["cam/mIoU"] == scores["cam/aAcc"] == scores["cam/best_mIoU"] == 100
    assert scores["cam/best_thr"] == 0.05


@pytest.mark.parametrize("ids", [(0, 255), (255,), (0,)])
def test_masks_without_objects_are_no_success(ids):
    samples = make_samples(3)
    for sample in samples:
        gt = sample.gt_sem_seg.data
        gt[:] = torch.tensor(ids)[torch.randint(0, len(ids), gt.shape)]
    evaluator = Evaluator(CAMIoUMetric())
    evaluator.dataset_meta = dict(classes=["background", "cat", "dog"])
    evaluator.process(samples)
    with pytest.raises(ValueError, match=r"foreground class \(cat, dog\)"):
        evaluator.evaluate(len(samples))


def test_defaults():
    assert CAMIoUMetric().sweep == pytest.approx([0.05 * k for k in range(1, 20)])
    assert (CAMIoUMetric().field, CAMIoUMetric().bkg_thr) == ("cams", 0.5)


def test_the_threshold_of_a_config_is_that_of_the_top_cams():
    aux = dict(type="CAMIoUMetric", field="aux_cams", bkg_thr=0.2)
    top = dict(type="CAMIoUMetric", bkg_thr=0.45)
    for metrics in (top, [dict(type="IoUMetric"), aux, top]):
        for evaluator in (metrics, dict(type="DenseCRFEvaluator", metrics=metrics)):
            assert configured_bkg_thr(evaluator) == 0.45
    default = dict(type="CAMIoUMetric", field="cams")
    assert configured_bkg_thr([default]) == 0.5
    assert configured_bkg_thr([aux]) is configured_bkg_thr(None) is None


def test_results_are_small_and_one_an_image():
    metric = CAMIoUMetric()
    metric.dataset_meta = dict(classes=["class"] * 81)
    samples = make_samples(81, absent=range(3, 81))
    metric.process({}, [sample.to_dict() for sample in samples])
    assert len(metric.results) == len(samples)
    for bins, counts, _ in metric.results:
        assert len(bins) == len(counts) <= 3 * 3 * 20
        assert (counts > 0).all()


def test_refuses_cams_of_another_size_or_number():
    metric = CAMIoUMetric()
    metric.dataset_meta = dict(classes=["class"] * 4)
    sample = make_samples(3)[0].to_dict()
    with pytest.raises(ValueError, match=r"cams of 0.jpg.*\(2, 9, 7\).*\(3, 9, 7\)"):
        metric.process({}, [sample])


@pytest.mark.parametrize(
    "kwargs", [dict(bkg_thr=1.5), dict(thresholds=()), dict(thresholds=(0.5, -0.1))]
)
def test_refuses_bad_thresholds(kwargs):
    with pytest.raises(ValueError, match="thresholds"):
        CAMIoUMetric(**kwargs)
