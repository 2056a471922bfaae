# AutoAugment as timm's rand-m9-mstd0.5-inc1: two operations of its increasing policy
_base_ = '../fsr_r50_voc-mini.py'
train_pipeline = _base_.train_pipeline
train_pipeline[2].transforms[0].append(
    dict(
        type='RandAugment',
        # the policy names its operations without their scope
        _scope_='mmpretrain',
        policies='timm_increasing',
        num_policies=2,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(
            # images are BGR here
            pad_val=[
                round(x) for x in _base_.model.data_preprocessor.mean[::-1]
            ],
            interpolation='bicubic')))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
