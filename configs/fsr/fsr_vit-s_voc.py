_base_ = ['./_base_/models/fsr_vit-s.py', './_base_/recipes/voc.py']
