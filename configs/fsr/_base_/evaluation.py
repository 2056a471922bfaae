# What validation scores, for student and teacher alike: segmentation, CAM seeds,
# pseudo labels and image labels.
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='CAMIoUMetric', field='cams', bkg_thr=0.5),
    dict(type='CAMIoUMetric', field='aux_cams', bkg_thr=0.5, prefix='aux_cam'),
    dict(type='PseudoLabelIoUMetric'),
    dict(type='ImageLabelF1Metric'),
]
test_evaluator = val_evaluator
