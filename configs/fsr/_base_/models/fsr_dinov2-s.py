# FSR on DINOv2's ViT-S/14, as on its ViT-B/14 but that every block learns, with
# drop path.
_base_ = './fsr_dinov2-b.py'
channels = 384
pretrained = '{{$FSR_DINOV2_S:pretrain/dinov2_vits14_pretrain.pth}}'
model = dict(
    backbone=dict(
        backbone=dict(
            arch='dinov2-small', drop_path_rate=0.1, frozen_stages=-1),
        init_cfg=dict(checkpoint=pretrained)),
    decode_head=dict(in_channels=channels),
    cam_head=dict(in_channels=channels),
    distill_head=dict(in_channels=channels))
