# Spreads CAMs over the cells whose features in the network itself are similar. Spread
# CAMs label more as objects and less as background: docs/affinity.md.
pseudo_label_generator = dict(
    low_thr=0.4,
    high_thr=0.65,
    affinity=dict(type='FeatureAffinity', power=4, steps=2))
