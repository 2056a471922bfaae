# mmseg's DeepLabV3+, made small, on the demo's exported labels.
_base_ = [
    __import__('mmseg').__path__[0] +
    '/.mim/configs/_base_/models/deeplabv3plus_r50-d8.py',
    './_base_/scenes_pseudo.py'
]
num_classes = 6
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    pretrained=None,
    backbone=dict(depth=18, base_channels=32, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=256,
        channels=64,
        # An image of 96 px has 12 cells a side.
        dilations=(1, 2, 4, 6),
        c1_in_channels=32,
        c1_channels=16,
        num_classes=num_classes,
        norm_cfg=norm_cfg),
    auxiliary_head=dict(
        in_channels=128,
        channels=32,
        num_classes=num_classes,
        norm_cfg=norm_cfg))
