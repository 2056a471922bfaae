# FSR on a dilated ResNet-50 (stride 16), norm layers frozen.
num_classes = 20  # foreground classes
data_preprocessor = dict(
    type='MultiViewSegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)
model = dict(
    type='WeakSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='FSRBackbone',
        backbone=dict(
            type='ResNet',
            depth=50,
            num_stages=4,
            out_indices=(2, 3),
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            frozen_stages=1,
            norm_cfg=dict(type='BN', requires_grad=False),
            norm_eval=True,
            contract_dilation=True,
            style='caffe'),
        in_channels=2048,
        stride=16,
        aggregator=dict(type='AveragePoolingAggregator')),
    decode_head=dict(
        type='LargeFOVHead',
        in_channels=2048,
        channels=512,
        dilation=5,
        num_classes=num_classes + 1,
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.1)),
    # 2,048 channels after maximum pooling learn too unsteadily.
    cam_head=dict(
        type='CAMHead',
        num_classes=num_classes,
        in_channels=2048,
        aux_in_channels=1024,
        pooling='avg'),
    affinity_head=dict(type='PTCHead', loss_weight=0.2),
    distill_head=dict(
        type='SelfDistillHead',
        in_channels=2048,
        loss_class_weight=0.1,
        loss_patch_weight=0.1),
    pseudo_label_generator=dict(
        type='CAMPseudoLabelGenerator',
        scales=(1.0, 0.5, 1.5),
        low_thr=0.25,
        high_thr=0.7,
        refiner=dict(type='PixelAdaptiveRefinement')),
    mask_generator=dict(
        type='UncertaintyMaskGenerator',
        block_size=64,
        mask_ratio=0.4,
        strategy='cam_relaxed',
        random_phase=0.2),
    loss_energy=dict(type='DenseEnergyLoss', loss_weight=5e-9),
    teacher=dict(train_mode=True),
    train_cfg=dict(),
    test_cfg=dict(mode='whole', cams=True))
