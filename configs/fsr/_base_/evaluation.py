# What validation scores, for student and teacher alike: segmentation, CAM seeds,
# pseudo labels and image labels. Which of the two is scored:
# `default_hooks.teacher_scoring.validate`.
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='CAMIoUMetric', field='cams', bkg_thr=0.5),
    dict(type='CAMIoUMetric', field='aux_cams', bkg_thr=0.5, prefix='aux_cam'),
    dict(type='PseudoLabelIoUMetric'),
    dict(type='ImageLabelMetric'),
]
test_evaluator = val_evaluator

# The paper's inference, with --tta: three scales and their mirror images.
tta_model = dict(type='FSRTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='ScaleTo8Bit'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=factor, keep_ratio=True)
                for factor in (1.0, 1.25, 1.5)
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ]),
]
# What the paper refines the result by, with --crf
crf = dict(type='DenseCRF')
