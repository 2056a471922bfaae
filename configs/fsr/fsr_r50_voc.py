_base_ = ['./_base_/models/fsr_r50.py', './_base_/recipes/voc.py']
