# FSR on CLIP's ViT-B/16. The class token, which is what CLIP compares with texts,
# goes through the blocks, as in its training. Blocks learn the faster the later they
# are: ../schedules/layer_decay.py.
_base_ = './fsr_vit-b.py'
pretrained = '{{$FSR_CLIP_B:pretrain/vit_base_patch16_clip_quickgelu_224.openai.pth}}'
model = dict(
    # CLIP's own
    data_preprocessor=dict(
        mean=[122.7709383, 116.7460125, 104.09373615],
        std=[68.5005327, 66.6321579, 70.32316305]),
    backbone=dict(
        _delete_=True,
        type='FSRBackbone',
        backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch='base',
            img_size=224,
            patch_size=16,
            out_indices=[9, 11],
            out_type='featmap',
            norm_cfg=dict(type='LN', eps=1e-5),
            pre_norm=True,
            layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
            drop_path_rate=0.1),
        masking='tokens',
        aggregator=dict(type='ClassAttentionAggregator', depth=2),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)))
