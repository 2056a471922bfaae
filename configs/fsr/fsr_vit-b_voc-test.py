# Label maps of VOC's test images, which have no masks: tools/test.py --out.
_base_ = './fsr_vit-b_voc.py'
model = dict(test_cfg=dict(cams=False))
# without `LoadAnnotations`
test_pipeline = [
    *_base_.test_pipeline[:3],
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    *_base_.tta_pipeline[:2],
    dict(
        type='TestTimeAug',
        transforms=[
            *_base_.tta_pipeline[2].transforms[:2],
            [dict(type='PackSegInputs')],
        ]),
]
test_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/test.txt',
        data_prefix=dict(_delete_=True, img_path='JPEGImages'),
        pipeline=test_pipeline))
test_evaluator = [dict(type='IoUMetric', format_only=True)]
