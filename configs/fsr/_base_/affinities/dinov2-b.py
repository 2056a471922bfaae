# The same of DINOv2's ViT-B/14.
_base_ = './dinov2-s.py'
pseudo_label_generator = dict(
    affinity=dict(
        source=dict(
            backbone=dict(
                arch='base',
                init_cfg=dict(
                    checkpoint='{{$FSR_DINOV2_B:pretrain/dinov2_vitb14_pretrain.pth}}'
                )))))
