# FSR on DINOv2's ViT-B/14: blocks of 56 px are 4 x 4 patches. The class token goes
# through the blocks, as in its training: the patches keep attending to it. The first
# eight blocks stay as they are, and so do the features that need no labels.
_base_ = './fsr_vit-b.py'
pretrained = '{{$FSR_DINOV2_B:pretrain/dinov2_vitb14_pretrain.pth}}'
model = dict(
    backbone=dict(
        _delete_=True,
        type='FSRBackbone',
        backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch='base',
            # 37 x 37 positions
            img_size=518,
            patch_size=14,
            out_indices=[9, 11],
            out_type='featmap',
            layer_scale_init_value=1e-5,
            frozen_stages=8),
        masking='tokens',
        aggregator=dict(type='ClassAttentionAggregator', depth=2),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    mask_generator=dict(block_size=56))
