# mmseg's smallest SegFormer on the demo's exported labels.
_base_ = [
    __import__('mmseg').__path__[0] +
    '/.mim/configs/_base_/models/segformer_mit-b0.py',
    './_base_/scenes_pseudo.py'
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(
        num_classes=6, norm_cfg=dict(type='BN', requires_grad=True)))
