# FSR on ConvNeXt-T. It has no dilation: a neck brings the last map, of stride 32,
# to the stride of the one before, 16.
_base_ = './fsr_vit-b_fcn.py'
channels = 512
pretrained = '{{$FSR_CONVNEXT_T:pretrain/convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth}}'  # noqa: E501
model = dict(
    backbone=dict(
        _delete_=True,
        type='FSRBackbone',
        backbone=dict(
            type='mmpretrain.ConvNeXt',
            arch='tiny',
            out_indices=(2, 3),
            drop_path_rate=0.4,
            gap_before_final_norm=False),
        neck=dict(
            type='MultiLevelNeck',
            in_channels=[384, 768],
            out_channels=channels,
            scales=[1, 2]),
        aggregator=dict(type='AveragePoolingAggregator'),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(in_channels=channels, norm_cfg=dict(type='SyncBN')),
    cam_head=dict(in_channels=channels),
    distill_head=dict(in_channels=channels))
