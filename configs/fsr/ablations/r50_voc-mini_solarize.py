# Solarisation of every fifth view: values from 128 on are inverted
_base_ = '../fsr_r50_voc-mini.py'
train_pipeline = _base_.train_pipeline
train_pipeline[2].transforms[0].append(
    dict(type='mmpretrain.Solarize', thr=128, prob=0.2))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
