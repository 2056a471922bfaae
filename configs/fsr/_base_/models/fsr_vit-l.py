# FSR on ViT-L/16, trained on ImageNet-21k and then ImageNet-1k. Blocks learn the
# faster the later they are: ../schedules/layer_decay.py.
_base_ = './fsr_vit-b.py'
channels = 1024
pretrained = '{{$FSR_VIT_L:pretrain/vit_large_patch16_224.augreg_in21k_ft_in1k.pth}}'
model = dict(
    # what these weights were trained with
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        arch='large',
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(in_channels=channels),
    cam_head=dict(in_channels=channels),
    distill_head=dict(in_channels=channels))
