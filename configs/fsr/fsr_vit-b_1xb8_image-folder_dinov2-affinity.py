# CAMs spread over what DINOv2 finds similar (docs/affinity.md): not in the paper.
_base_ = ['./fsr_vit-b_1xb8_image-folder.py', './_base_/affinities/dinov2-b.py']
model = dict(pseudo_label_generator={{_base_.pseudo_label_generator}})
