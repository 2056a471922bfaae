# The paper's recipe for PASCAL VOC: global batch 8, 20,000 steps.
max_iters = 20000
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='FSROptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.05,
        fused=True),
    paramwise_cfg=dict(head_lr_mult=10.0))
# The warm-up ends one step after the cosine begins: so its last factor is the
# cosine's, as in the paper's runs.
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1501),
    dict(
        type='CosineAnnealingLR', by_epoch=False, begin=1500, end=max_iters),
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
