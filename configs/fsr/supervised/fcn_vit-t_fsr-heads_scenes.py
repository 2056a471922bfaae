# FSR's two losses on features as auxiliary heads of mmseg's EncoderDecoder, which
# learns from the masks of the drawn scenes.
_base_ = [
    '../_base_/datasets/scenes_masks.py', '../_base_/scenes_runtime.py',
    '../_base_/schedules/schedule_600.py'
]
channels = 128
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=_base_.crop_size),
    backbone=dict(
        type='SelfDistillBackbone',
        backbone=dict(
            type='FSRViT',
            arch=dict(
                embed_dims=channels,
                num_layers=6,
                num_heads=4,
                feedforward_channels=4 * channels),
            img_size=96,
            patch_size=12,
            aggregator=dict(
                type='ClassAttentionAggregator', num_heads=4, depth=1)),
        mask_generator=dict(
            type='UncertaintyMaskGenerator',
            strategy='random',
            block_size=24,
            mask_ratio=0.4),
        teacher=dict(train_mode=True)),
    decode_head=dict(
        type='FCNHead',
        in_channels=channels,
        channels=channels,
        num_convs=2,
        concat_input=False,
        norm_cfg=dict(type='BN'),
        num_classes=6),
    auxiliary_head=[
        dict(type='PTCHead', loss_weight=0.2),
        dict(
            type='SelfDistillAuxHead',
            in_channels=channels,
            hidden_channels=256,
            bottleneck_channels=64,
            out_channels=512)
    ],
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))

# 10 whole patches a side; after `Resize`: scores are taken at the size of the mask
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(120, 120)),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# The teachers are of parts of the model and segment nothing to validate.
custom_hooks = [dict(type='EMATeacherHook', momentum=0.98)]
default_hooks = dict(
    checkpoint_guard=dict(type='CheckpointGuardHook'),
    distillation_health=dict(type='DistillationHealthHook'),
    finite_loss=dict(type='FiniteLossHook'),
    num_class_check=dict(type='NumClassCheckHook'),
    settings_check=dict(type='SettingsCheckHook'),
    step_seed=dict(type='StepSeedHook'),
    stop_signal=dict(type='StopSignalHook'),
    supervision=dict(type='SupervisionHook'))
