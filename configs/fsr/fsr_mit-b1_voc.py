_base_ = ['./_base_/models/fsr_mit-b1.py', './_base_/recipes/voc.py']
