# FSR with ViT-B/16 (AAAI 2024), every value the paper's for PASCAL VOC.
# timm's vit_base_patch16_224, trained on ImageNet-21k and then ImageNet-1k
pretrained = '{{$FSR_VIT_B:pretrain/jx_vit_base_p16_224-80ecf9dd.pth}}'
data_preprocessor = dict(
    type='MultiViewSegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)
model = dict(
    type='WeakSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='FSRViT',
        arch='base',
        img_size=224,
        patch_size=16,
        out_indices=(-3, -1),
        drop_path_rate=0.1,
        aggregator=dict(type='ClassAttentionAggregator', depth=2),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(
        type='LargeFOVHead',
        in_channels=768,
        channels=512,
        dilation=5,
        num_classes=21,
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.1)),
    cam_head=dict(
        type='CAMHead', num_classes=20, in_channels=768, loss_weight=1.0),
    affinity_head=dict(type='PTCHead', loss_weight=0.2),
    distill_head=dict(
        type='SelfDistillHead',
        in_channels=768,
        hidden_channels=2048,
        bottleneck_channels=256,
        out_channels=4096,
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
        low_thr=0.2,
        high_thr=0.7,
        strategy='cam_relaxed',
        random_phase=0.2),
    loss_energy=dict(
        type='DenseEnergyLoss',
        # 0.05 of a kernel that itself weighs 1e-7
        loss_weight=5e-9,
        sigma_rgb=15,
        sigma_xy=100,
        scale_factor=0.5),
    teacher=dict(train_mode=True),
    loss_begin=dict(loss_seg=2000, loss_energy=2000),
    train_cfg=dict(),
    test_cfg=dict(mode='whole', cams=True))
