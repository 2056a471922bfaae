_base_ = ['./_base_/models/fsr_r101.py', './_base_/recipes/voc.py']
