# mmseg's SegFormer of ADE20K on exported labels of VOC; 8 GPUs x 2 images. What
# changes is data, classes and the number of steps.
# By its path, as 'mmseg::' knows the original packages' name only.
_base_ = [
    __import__('mmseg').__path__[0] + '/.mim/configs/segformer/'
    'segformer_mit-b5_8xb2-160k_ade20k-512x512.py',
    './_base_/voc12aug_pseudo.py'
]
model = dict(decode_head=dict(num_classes=21))

# ADE20K's masks have no background, VOC's have one
train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(type='LoadAnnotations')
test_pipeline = _base_.test_pipeline
test_pipeline[2] = dict(type='LoadAnnotations')
train_dataloader = dict(
    dataset=dict(pipeline=train_pipeline, **_base_.pseudo_train))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **_base_.voc_val))
test_dataloader = val_dataloader

max_iters = 40000
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
train_cfg = dict(max_iters=max_iters, val_interval=4000)
default_hooks = dict(
    checkpoint=dict(interval=4000), supervision=dict(type='SupervisionHook'))
