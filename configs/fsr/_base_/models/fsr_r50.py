# FSR on a dilated ResNet-50 (stride 16), norm layers frozen.
_base_ = './fsr_vit-b_fcn.py'
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
        aggregator=dict(type='AveragePoolingAggregator')),
    decode_head=dict(in_channels=channels),
    cam_head=dict(in_channels=channels, aux_in_channels=1024),
    distill_head=dict(in_channels=channels))
