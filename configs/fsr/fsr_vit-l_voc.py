_base_ = [
    './_base_/models/fsr_vit-l.py', './_base_/recipes/voc.py',
    './_base_/schedules/layer_decay.py'
]
optim_wrapper = _base_.layer_decay
