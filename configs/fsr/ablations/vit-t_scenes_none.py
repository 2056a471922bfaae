# Without self-distillation
_base_ = '../fsr_vit-t_scenes.py'
model = dict(distill_head=None, mask_generator=None, teacher=None)
custom_hooks = []
