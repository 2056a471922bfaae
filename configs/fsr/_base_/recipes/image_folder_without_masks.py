# The recipe for images of one's own without any mask: validation scores the classifier
# by the image labels of val.txt, and the best checkpoint is that of its mAP.
_base_ = './image_folder.py'
test_pipeline = [
    *_base_.test_pipeline[:-2],
    dict(type='PackImageLabelSegInputs'),
]
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(_delete_=True, img_path='images'),
        label_file='image_labels.json',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [dict(type='ImageLabelMetric')]
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='cls/mAP'))
# with --tta --cams
tta_pipeline = _base_.tta_pipeline
tta_pipeline[2].transforms[2:] = [[dict(type='PackImageLabelSegInputs')]]
