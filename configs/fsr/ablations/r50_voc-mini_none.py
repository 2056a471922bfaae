# Without self-distillation
_base_ = '../fsr_r50_voc-mini.py'
model = dict(distill_head=None, mask_generator=None, teacher=None)
custom_hooks = []
