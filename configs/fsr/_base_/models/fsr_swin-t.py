# FSR on Swin-T, whose last patch merging keeps the grid: stride 16, with the weights
# of stride 32. The mask token replaces patch embeddings, as in SimMIM.
_base_ = './fsr_vit-b.py'
channels = 768
pretrained = '{{$FSR_SWIN_T:pretrain/swin_tiny_patch4_window7_224-160bb0a5.pth}}'
model = dict(
    backbone=dict(
        _delete_=True,
        type='FSRBackbone',
        backbone=dict(
            type='mmpretrain.SwinTransformer',
            arch='tiny',
            out_indices=(0, 1, 2, 3),
            drop_path_rate=0.3,
            stage_cfgs=[{}, {}, dict(downsample_cfg=dict(stride=1)), {}],
            # windows of 7 x 7 at any size of the image
            pad_small_map=True),
        masking='tokens',
        aggregator=dict(type='ClassAttentionAggregator', depth=2),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(
        _delete_=True,
        type='UPerHead',
        in_channels=[96, 192, 384, channels],
        in_index=[0, 1, 2, 3],
        channels=512,
        norm_cfg=dict(type='SyncBN'),
        num_classes=_base_.model.decode_head.num_classes,
        loss_decode=_base_.model.decode_head.loss_decode),
    cam_head=dict(in_channels=channels, aux_in_channels=384),
    distill_head=dict(in_channels=channels))
