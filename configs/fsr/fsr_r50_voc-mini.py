# Image-level labels only, from a ResNet-50 that has seen ImageNet labels.
_base_ = [
    './_base_/models/fsr_r50.py', './_base_/datasets/voc_mini.py',
    './_base_/schedules/schedule_4k.py', './_base_/evaluation.py',
    './_base_/default_runtime.py'
]
num_classes = 8
model = dict(
    # one GPU, or a CPU
    decode_head=dict(
        norm_cfg=dict(type='BN'), num_classes=num_classes + 1),
    cam_head=dict(num_classes=num_classes),
    # The paper's 0.07 learns late (docs/shorter_run.md).
    distill_head=dict(teacher_temp=0.04),
    loss_begin=dict(loss_seg=400, loss_energy=400, loss_ptc=400))
custom_hooks = [dict(type='EMATeacherHook', momentum=0.995)]
default_hooks = dict(checkpoint=dict(interval=1000))
