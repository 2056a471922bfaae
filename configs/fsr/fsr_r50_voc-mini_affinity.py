# CAMs spread over cells of similar features (docs/affinity.md): not in the paper.
_base_ = './fsr_r50_voc-mini.py'
model = dict(
    pseudo_label_generator=dict(
        # Spread CAMs decide more: docs/affinity.md.
        low_thr=0.4,
        high_thr=0.65,
        affinity=dict(type='FeatureAffinity', power=4, steps=2)))
