_base_ = ['./_base_/models/fsr_swin-t.py', './_base_/recipes/voc.py']
model = _base_.model_settings
