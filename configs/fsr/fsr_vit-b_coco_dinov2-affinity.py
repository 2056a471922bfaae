# CAMs spread over what DINOv2 finds similar (docs/affinity.md): not in the paper.
_base_ = ['./fsr_vit-b_coco.py', './_base_/affinities/dinov2-b.py']
model = dict(
    pseudo_label_generator=dict(
        # Spread CAMs decide more: docs/affinity.md.
        low_thr=0.35,
        high_thr=0.6,
        affinity={{_base_.affinity}}))
