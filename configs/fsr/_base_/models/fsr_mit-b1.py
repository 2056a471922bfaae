# FSR on MiT-B1 of SegFormer, whose last stage keeps the grid: stride 16, with the
# weights of stride 32. Its patches overlap, so pixels are masked.
_base_ = './fsr_vit-b.py'
channels = 512
pretrained = '{{$FSR_MIT_B1:pretrain/mit_b1_20220624-02e5a6a1.pth}}'
model = dict(
    backbone=dict(
        _delete_=True,
        type='FSRBackbone',
        backbone=dict(
            type='MixVisionTransformer',
            embed_dims=64,
            num_layers=[2, 2, 2, 2],
            num_heads=[1, 2, 5, 8],
            strides=[4, 2, 2, 1],
            drop_path_rate=0.1),
        aggregator=dict(type='ClassAttentionAggregator', depth=2),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(
        _delete_=True,
        type='SegformerHead',
        in_channels=[64, 128, 320, channels],
        in_index=[0, 1, 2, 3],
        channels=256,
        norm_cfg=dict(type='SyncBN'),
        num_classes=_base_.model.decode_head.num_classes,
        loss_decode=_base_.model.decode_head.loss_decode),
    cam_head=dict(in_channels=channels, aux_in_channels=320),
    distill_head=dict(in_channels=channels))
