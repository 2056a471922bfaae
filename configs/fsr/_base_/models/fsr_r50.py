# FSR on a dilated ResNet-50 (stride 16), norm layers frozen. Decoder with norm and
# average pooling as in fsr_vit-b_fcn.py.
_base_ = './fsr_vit-b_fcn.py'
channels = 2048
# torchvision's, whose blocks have their stride in the 3x3 convolution; 'caffe' is the
# other kind, with the same names and shapes
pretrained = '{{$FSR_R50:pretrain/resnet50-0676ba61.pth}}'
style = '{{$FSR_R50_STYLE:pytorch}}'
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
            style=style),
        aggregator=dict(type='AveragePoolingAggregator'),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(in_channels=channels, norm_cfg=dict(type='SyncBN')),
    cam_head=dict(in_channels=channels, aux_in_channels=1024),
    distill_head=dict(in_channels=channels))
