# CAMs spread over cells of similar features (docs/affinity.md): not in the paper.
_base_ = './fsr_vit-b_coco.py'
model = dict(
    pseudo_label_generator=dict(
        affinity=dict(type='FeatureAffinity', power=2, steps=2)))
