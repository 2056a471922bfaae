# CAMs spread over cells of similar features (docs/affinity.md): not in the paper.
_base_ = ['./fsr_vit-b_coco.py', './_base_/affinities/own.py']
model = dict(pseudo_label_generator={{_base_.pseudo_label_generator}})
