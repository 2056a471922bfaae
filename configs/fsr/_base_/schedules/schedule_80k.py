# The paper's recipe for MS COCO: global batch 8, 80,000 steps.
_base_ = './schedule_20k.py'
max_iters = 80000
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1501),
    dict(
        type='CosineAnnealingLR', by_epoch=False, begin=1500, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=8000)
