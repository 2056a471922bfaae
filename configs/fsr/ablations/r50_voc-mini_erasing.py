# Random erasing of every fourth view: a rectangle of noise, which the normalisation
# makes standard normal
_base_ = '../fsr_r50_voc-mini.py'
train_pipeline = _base_.train_pipeline
train_pipeline[2].transforms[0].append(
    dict(
        type='mmpretrain.RandomErasing',
        erase_prob=0.25,
        max_area_ratio=1 / 3,
        mode='rand',
        # images are BGR here
        fill_color=_base_.model.data_preprocessor.mean[::-1],
        fill_std=_base_.model.data_preprocessor.std[::-1]))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
