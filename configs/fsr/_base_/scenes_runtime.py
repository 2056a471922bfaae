# Runtime of mmseg's own segmentors on the drawn scenes
_base_ = __import__(
    'mmseg').__path__[0] + '/.mim/configs/_base_/default_runtime.py'
custom_imports = dict(
    imports=['mmseg_fsr', 'mmseg_fsr.checkpoints.runner_loaders'],
    allow_failed_imports=False)
runner_type = 'ShortConsoleRunner'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='AtomicCheckpointHook', by_epoch=False, interval=600),
    checkpoint_guard=dict(type='CheckpointGuardHook'),
    num_class_check=dict(type='NumClassCheckHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    supervision=dict(type='SupervisionHook'),
    visualization=dict(type='SegVisualizationHook'))
randomness = dict(seed=0)
