import torch
from mmengine.structures import LabelData, PixelData
from mmseg.registry import METRICS
from mmseg.structures import SegDataSample

from mmseg_fsr.evaluation.known_truth import known_truth, unknown_ids


def labelled(*labels):
    return SegDataSample(gt_label=LabelData(label=torch.tensor(labels)))


def test_pixels_of_unknown_classes_do_not_count():
    mask = torch.tensor([[[0, 1, 2, 3, 255]]])
    sample = labelled(-1.0, 0, -1).to_dict()
    assert unknown_ids(sample) == [1, 3]
    assert known_truth(mask, sample).tolist() == [[[0, 255, 2, 255, 255]]]
    for sample in (labelled(1.0, 0, 0), SegDataSample()):
        assert known_truth(mask, sample.to_dict()) is mask


def test_metrics_score_the_classes_that_are_known():
    classes = ["background", "a", "b"]
    for label in ([1.0, -1], [1.0, 0]):
        sample = labelled(*label)
        sample.gt_sem_seg = PixelData(data=torch.tensor([[[0, 1, 2, 2]]]))
        sample.pseudo_sem_seg = PixelData(data=torch.tensor([[[0, 1, 0, 255]]]))
        sample.cams = PixelData(data=torch.tensor([[[0.0, 1, 0, 0]], [[0.0] * 4]]))
        for kind in ("CAMIoUMetric", "PseudoLabelIoUMetric"):
            metric = METRICS.build(dict(type=kind))
            metric.dataset_meta = dict(classes=classes)
            metric.process({}, [sample.to_dict()])
            scores = metric.evaluate(1)
            # Class b is nowhere then, and pixels of it are no background.
            perfect = scores[f"{metric.prefix}/mIoU"] == 100
            assert perfect == (label[1] == -1)
