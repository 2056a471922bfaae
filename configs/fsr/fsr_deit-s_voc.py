_base_ = ['./_base_/models/fsr_deit-s.py', './_base_/recipes/voc.py']
