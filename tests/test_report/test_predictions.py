import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_fsr.report.predictions import scored_labels


def test_what_is_there_is_scored_as_the_metrics_do():
    cams = torch.tensor([[[0.5, 0.6, 0.0]], [[0.2, 0.9, 0.5]]])
    sample = SegDataSample(
        pred_sem_seg=PixelData(data=torch.tensor([[[2, 1, 0]]])),
        pseudo_sem_seg=PixelData(data=torch.tensor([[[1, 255, 2]]])),
        cams=PixelData(data=cams),
    )
    found = {name: x.tolist() for name, x in scored_labels(sample, 0.5).items()}
    assert found == dict(
        prediction=[[2, 1, 0]], pseudo_label=[[1, 0, 2]], cams=[[0, 2, 0]]
    )
    plain = SegDataSample(pred_sem_seg=sample.pred_sem_seg)
    assert scored_labels(plain, 0.5).keys() == {"prediction"}
