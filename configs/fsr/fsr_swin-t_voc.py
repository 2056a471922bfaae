_base_ = ['./_base_/models/fsr_swin-t.py', './_base_/recipes/voc.py']
