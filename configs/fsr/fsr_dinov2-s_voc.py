_base_ = ['./_base_/models/fsr_dinov2-s.py', './_base_/recipes/voc.py']
