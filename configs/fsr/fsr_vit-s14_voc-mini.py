# For comparing variants of a ViT: DINOv2's ViT-S/14 has seen far more images
# than ImageNet, so what comes out is not "image-level labels only".
_base_ = [
    './_base_/models/fsr_vit-b_fcn.py', './_base_/datasets/voc_mini.py',
    './_base_/schedules/schedule_4k.py', './_base_/evaluation.py',
    './_base_/default_runtime.py'
]
num_classes = 8
channels = 384
pretrained = '{{$FSR_VIT_S14:pretrain/dinov2_vits14_pretrain.pth}}'
model = dict(
    backbone=dict(
        arch='dinov2-small',
        img_size=518,
        patch_size=14,
        layer_scale_init_value=1e-5,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(in_channels=channels, num_classes=num_classes + 1),
    cam_head=dict(in_channels=channels, num_classes=num_classes),
    # The paper's 0.07 learns late (docs/shorter_run.md).
    distill_head=dict(in_channels=channels, teacher_temp=0.04),
    mask_generator=dict(block_size=56),
    loss_begin=dict(loss_seg=400, loss_energy=400, loss_ptc=400))
# The classifiers learn slowly on these features, and not at all at 6e-5.
optim_wrapper = dict(paramwise_cfg=dict(head_lr_mult=50.0))
custom_hooks = [dict(type='EMATeacherHook', momentum=0.995)]
default_hooks = dict(checkpoint=dict(interval=1000))
