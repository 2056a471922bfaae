_base_ = ['./_base_/models/fsr_dinov2-b.py', './_base_/recipes/coco.py']
model = _base_.model_settings
