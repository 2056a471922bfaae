# Fine-tuning on some hundred photographs: batch 8, 4,000 steps.
_base_ = './schedule_20k.py'
max_iters = 4000
optim_wrapper = dict(
    optimizer=dict(lr=2e-5), paramwise_cfg=dict(head_lr_mult=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=101),
    dict(
        type='CosineAnnealingLR', by_epoch=False, begin=100, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=1000)
