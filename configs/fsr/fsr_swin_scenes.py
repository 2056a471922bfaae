# A small Swin Transformer (stride 12) on the demo's scenes, from random weights.
_base_ = './fsr_vit-t_scenes.py'
channels = 128
model = dict(
    backbone=dict(
        _delete_=True,
        type='FSRBackbone',
        backbone=dict(
            type='mmpretrain.SwinTransformer',
            arch=dict(embed_dims=64, depths=[2, 4], num_heads=[2, 4]),
            img_size=96,
            patch_size=6,
            window_size=4,
            drop_path_rate=0.0,
            out_indices=(0, 1)),
        masking='tokens',
        img_size=96),
    decode_head=dict(in_channels=channels),
    cam_head=dict(in_channels=channels, aux_in_channels=64),
    distill_head=dict(in_channels=channels))
