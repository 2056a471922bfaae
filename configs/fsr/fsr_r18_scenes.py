# A narrow ResNet-18 (stride 8) on the demo's scenes, from random weights.
_base_ = './fsr_vit-t_scenes.py'
channels = 96
model = dict(
    backbone=dict(
        _delete_=True,
        type='FSRBackbone',
        backbone=dict(
            type='mmpretrain.ResNet',
            depth=18,
            num_stages=3,
            base_channels=24,
            out_indices=(1, 2),
            strides=(1, 2, 1),
            dilations=(1, 1, 2)),
        img_size=96),
    # LargeFOVHead's outputs begin too large on a map that is not normalised.
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=channels,
        channels=64,
        num_convs=2,
        concat_input=False,
        dilation=2,
        norm_cfg=dict(type='BN'),
        num_classes=_base_.num_classes + 1,
        loss_decode=_base_.model.decode_head.loss_decode),
    cam_head=dict(in_channels=channels, aux_in_channels=48),
    distill_head=dict(in_channels=channels))
