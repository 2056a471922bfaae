# Gaussian blur of every tenth view, its radius uniform in 0.1 to 2 pixels
_base_ = '../fsr_r50_voc-mini.py'
train_pipeline = _base_.train_pipeline
train_pipeline[2].transforms[0].append(
    dict(
        type='mmpretrain.GaussianBlur',
        magnitude_range=(0.1, 2.0),
        magnitude_std='inf',
        prob=0.1))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
