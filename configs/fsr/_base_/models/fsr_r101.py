# FSR on a dilated ResNet-101 (stride 16), norm layers frozen, with the decoder of
# DeepLabV3.
_base_ = './fsr_r50.py'
pretrained = '{{$FSR_R101:pretrain/resnet101-63fe2227.pth}}'
model = dict(
    backbone=dict(
        backbone=dict(depth=101), init_cfg=dict(checkpoint=pretrained)),
    decode_head=dict(
        _delete_=True,
        type='ASPPHead',
        in_channels=_base_.channels,
        channels=512,
        dilations=(1, 6, 12, 18),
        norm_cfg=dict(type='SyncBN'),
        num_classes=_base_.model.decode_head.num_classes,
        loss_decode=_base_.model.decode_head.loss_decode))
