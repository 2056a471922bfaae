# Without self-distillation, and with the decoder alone for the segmentation
_base_ = '../fsr_r50_voc-mini_dinov2-affinity.py'
model = dict(
    distill_head=None,
    mask_generator=None,
    teacher=None,
    test_cfg=dict(image_level_prior=False))
custom_hooks = []
