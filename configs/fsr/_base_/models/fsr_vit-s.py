# FSR on ViT-S/16, trained on ImageNet-21k and then ImageNet-1k, with the decoder of
# Segmenter. As wide as DeiT-S: mmpretrain's 'small' is a ViT of 768 channels.
_base_ = './fsr_deit-s.py'
channels = _base_.channels
pretrained = '{{$FSR_VIT_S:pretrain/vit_small_patch16_224.augreg_in21k_ft_in1k.pth}}'
model = dict(
    # what these weights were trained with
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(init_cfg=dict(checkpoint=pretrained)),
    decode_head=dict(
        _delete_=True,
        type='SegmenterMaskTransformerHead',
        in_channels=channels,
        channels=channels,
        embed_dims=channels,
        num_layers=2,
        num_heads=6,
        dropout_ratio=0.0,
        num_classes=_base_.model.decode_head.num_classes,
        loss_decode=_base_.model.decode_head.loss_decode))
