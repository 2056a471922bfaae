# Spreads CAMs over the cells that DINOv2's ViT-S/14 finds similar. It has seen images
# without any labels.
_base_ = './own.py'
pseudo_label_generator = dict(
    low_thr=0.35,
    high_thr=0.6,
    affinity=dict(
        source=dict(
            type='FrozenFeatures',
            backbone=dict(
                type='mmpretrain.VisionTransformer',
                arch='dinov2-small',
                # 37 x 37 positions
                img_size=518,
                patch_size=14,
                layer_scale_init_value=1e-5,
                init_cfg=dict(
                    type='Pretrained',
                    checkpoint='{{$FSR_DINOV2_S:pretrain/dinov2_vits14_pretrain.pth}}'
                )))))
