default_scope = 'mmseg'
# The second has mmengine read checkpoints as data: nothing in a file is run.
custom_imports = dict(
    imports=['mmseg_fsr', 'mmseg_fsr.checkpoints.runner_loaders'],
    allow_failed_imports=False)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
# deterministic=True makes torch refuse what has no deterministic version on a
# GPU, mmseg's IoUMetric among it; on the CPU a seed is enough.
randomness = dict(seed=0, deterministic=False)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
# A few lines on the console, everything in the log file; 'Runner' shows everything.
runner_type = 'ShortConsoleRunner'
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='AtomicCheckpointHook',
        by_epoch=False,
        interval=2000,
        max_keep_ckpts=2,
        save_best='mIoU'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='ScaledVisualizationHook'),
    cam_visualization=dict(type='CAMVisualizationHook', interval=2000),
    teacher_scoring=dict(type='TeacherScoringHook', validate='both'),
    checkpoint_guard=dict(type='CheckpointGuardHook'),
    distillation_health=dict(type='DistillationHealthHook'),
    finite_loss=dict(type='FiniteLossHook'),
    num_class_check=dict(type='NumClassCheckHook'),
    pseudo_label_shares=dict(type='PseudoLabelShareHook'),
    settings_check=dict(type='SettingsCheckHook'),
    step_seed=dict(type='StepSeedHook'),
    stop_signal=dict(type='StopSignalHook'),
    supervision=dict(type='SupervisionHook'))
custom_hooks = [dict(type='EMATeacherHook', momentum=0.9995)]
