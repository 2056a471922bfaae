# CAMs spread over what DINOv2 finds similar (docs/affinity.md): not in the paper.
_base_ = ['./fsr_r50_voc-mini.py', './_base_/affinities/dinov2-s.py']
model = dict(
    pseudo_label_generator={{_base_.pseudo_label_generator}},
    # The classifiers tell classes better than the decoder (docs/inference.md).
    test_cfg=dict(image_level_prior=True))
