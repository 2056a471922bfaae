# Layer-wise learning rates, to add to a schedule: the heads learn at the optimizer's
# rate, the last block at `layer_decay_rate` of it, each earlier one at that share of
# the next. `optim_wrapper = _base_.layer_decay` takes it over. What does not decay is
# what does not in the paper. Rates of fine-tuned MAE.
layer_decay = dict(
    constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(
        _delete_=True,
        layer_decay_rate=0.75,
        norm_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(
            pos_embed=dict(decay_mult=0.0),
            cls_token=dict(decay_mult=0.0),
            mask_token=dict(decay_mult=0.0))))
