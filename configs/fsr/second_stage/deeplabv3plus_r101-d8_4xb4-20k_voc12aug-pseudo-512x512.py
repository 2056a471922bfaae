# mmseg's DeepLabV3+ as it stands, on exported labels; 4 GPUs x 4 images.
# By its path, as 'mmseg::' knows the original packages' name only.
_base_ = [
    __import__('mmseg').__path__[0] + '/.mim/configs/deeplabv3plus/'
    'deeplabv3plus_r101-d8_4xb4-20k_voc12aug-512x512.py',
    './_base_/voc12aug_pseudo.py'
]
train_dataloader = dict(
    dataset=dict(pipeline=_base_.train_pipeline, **_base_.pseudo_train))
default_hooks = dict(supervision=dict(type='SupervisionHook'))
