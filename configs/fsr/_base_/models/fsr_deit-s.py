# FSR on DeiT-S/16, trained on ImageNet-1k alone.
_base_ = './fsr_vit-b.py'
channels = 384
pretrained = '{{$FSR_DEIT_S:pretrain/deit_small_patch16_224-cd65a155.pth}}'
model = dict(
    backbone=dict(
        arch='deit-small',
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(in_channels=channels),
    cam_head=dict(in_channels=channels),
    distill_head=dict(in_channels=channels))
