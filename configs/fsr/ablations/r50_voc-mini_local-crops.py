# Eight local crops of 96 px, as many as DINO's and iBOT's, beside the two views
_base_ = '../fsr_r50_voc-mini.py'
train_pipeline = _base_.train_pipeline
crop, *augmentations = train_pipeline[2].transforms[0]
local_crop = dict(crop, scale=(96, 96), crop_ratio_range=(0.05, 0.32))
train_pipeline[2].update(
    num_views=[2, 8],
    transforms=[[crop, *augmentations], [local_crop, *augmentations]])
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
