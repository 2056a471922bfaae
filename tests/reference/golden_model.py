"""The network of the golden arrays as a config."""


def golden_model_cfg(meta: dict) -> dict:
    num_classes = meta["num_classes"] - 1
    channels = meta["embed_dims"]
    weights = meta["loss_weights"]
    energy = meta["energy"]
    return dict(
        type="WeakSegmentor",
        data_preprocessor=dict(
            type="MultiViewSegDataPreProcessor",
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
        ),
        backbone=dict(
            type="FSRViT",
            arch=dict(
                embed_dims=channels,
                num_layers=meta["num_layers"],
                num_heads=meta["num_heads"],
                feedforward_channels=4 * channels,
            ),
            img_size=meta["img_size"],
            patch_size=meta["patch_size"],
            out_indices=(meta["aux_layer"], -1),
            aggregator=dict(
                type="ClassAttentionAggregator",
                depth=meta["cls_depth"],
                num_heads=meta["num_heads"],
            ),
        ),
        decode_head=dict(
            type="LargeFOVHead",
            in_channels=channels,
            channels=meta["decoder_channels"],
            dilation=meta["decoder_dilation"],
            num_classes=num_classes + 1,
            loss_decode=dict(
                type="BalancedCrossEntropyLoss", loss_weight=weights["seg"]
            ),
        ),
        cam_head=dict(type="CAMHead", num_classes=num_classes, in_channels=channels),
        affinity_head=dict(type="PTCHead", loss_weight=weights["ptc"]),
        distill_head=dict(
            type="SelfDistillHead",
            in_channels=channels,
            hidden_channels=meta["hidden_dim"],
            bottleneck_channels=meta["bottleneck_dim"],
            out_channels=meta["out_dim"],
            # The arrays' temperature rises over the first 10 of 40 steps.
            warmup_teacher_temp_ratio=0.25,
            loss_class_weight=weights["fsr_class"],
            loss_patch_weight=weights["fsr_patch"],
        ),
        mask_generator=dict(
            type="UncertaintyMaskGenerator", block_size=meta["block_size"]
        ),
        pseudo_label_generator=dict(
            type="CAMPseudoLabelGenerator",
            scales=meta["cam_scales"],
            low_thr=meta["low_thre"],
            high_thr=meta["high_thre"],
        ),
        loss_energy=dict(
            type="DenseEnergyLoss",
            loss_weight=weights["reg"] * energy["weight"],
            sigma_rgb=energy["sigma_rgb"],
            sigma_xy=energy["sigma_xy"],
            scale_factor=energy["scale_factor"],
        ),
        teacher=dict(train_mode=True),
        test_cfg=dict(mode="whole"),
    )
