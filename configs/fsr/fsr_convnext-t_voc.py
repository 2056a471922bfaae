_base_ = ['./_base_/models/fsr_convnext-t.py', './_base_/recipes/voc.py']
