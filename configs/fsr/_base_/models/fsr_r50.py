# FSR on a dilated ResNet-50 (stride 16), norm layers frozen.
_base_ = './fsr_vit-b.py'
channels = 2048
model = dict(
    backbone=dict(
        _delete_=True,
        type='FSRBackbone',
        backbone=dict(
            type='ResNet',
            depth=50,
            num_stages=4,
            out_indices=(2, 3),
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            frozen_stages=1,
            norm_cfg=dict(type='BN', requires_grad=False),
            norm_eval=True,
            contract_dilation=True,
            style='caffe'),
        in_channels=channels,
        stride=16,
        aggregator=dict(type='AveragePoolingAggregator')),
    # The paper's head has no norm: on ResNet's large activations its first
    # losses undo what the classifiers have learned.
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=channels,
        in_index=1,
        channels=512,
        num_convs=2,
        concat_input=False,
        norm_cfg=dict(type='BN'),
        num_classes=_base_.num_classes + 1,
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.1)),
    # Maximum pooling of 2,048 channels learns too unsteadily.
    cam_head=dict(in_channels=channels, aux_in_channels=1024, pooling='avg'),
    distill_head=dict(in_channels=channels))
