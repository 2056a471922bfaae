"""The network of the golden arrays as a config."""

from tests.support.tiny_segmentor import segmentor_cfg


def golden_model_cfg(meta: dict) -> dict:
    """The config, by the arrays' own notes of sizes and settings."""
    weights, energy = meta["loss_weights"], meta["energy"]
    return segmentor_cfg(
        meta["num_classes"] - 1,
        meta["embed_dims"],
        backbone=dict(
            arch=dict(num_layers=meta["num_layers"], num_heads=meta["num_heads"]),
            img_size=meta["img_size"],
            patch_size=meta["patch_size"],
            out_indices=(meta["aux_layer"], -1),
            aggregator=dict(depth=meta["cls_depth"], num_heads=meta["num_heads"]),
        ),
        decode_head=dict(
            channels=meta["decoder_channels"],
            dilation=meta["decoder_dilation"],
            loss_decode=dict(loss_weight=weights["seg"]),
        ),
        affinity_head=dict(loss_weight=weights["ptc"]),
        distill_head=dict(
            hidden_channels=meta["hidden_dim"],
            bottleneck_channels=meta["bottleneck_dim"],
            out_channels=meta["out_dim"],
            # The arrays' temperature rises over the first 10 of 40 steps.
            warmup_teacher_temp_ratio=0.25,
            loss_class_weight=weights["fsr_class"],
            loss_patch_weight=weights["fsr_patch"],
        ),
        mask_generator=dict(block_size=meta["block_size"]),
        pseudo_label_generator=dict(
            scales=meta["cam_scales"],
            low_thr=meta["low_thre"],
            high_thr=meta["high_thre"],
        ),
        loss_energy=dict(
            loss_weight=weights["reg"] * energy["weight"],
            sigma_rgb=energy["sigma_rgb"],
            sigma_xy=energy["sigma_xy"],
            scale_factor=energy["scale_factor"],
        ),
    )
