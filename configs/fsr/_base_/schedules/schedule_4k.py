# Fine-tuning on some hundred photographs: batch 8, 4,000 steps.
max_iters = 4000
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='FSROptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=2e-5, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(head_lr_mult=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=101),
    dict(
        type='CosineAnnealingLR', by_epoch=False, begin=100, end=max_iters),
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
