"""Learning rates and weight decay of the parts of a weak segmentor."""

from mmengine.optim import DefaultOptimWrapperConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from mmseg_fsr.utils.run_log import log_to_file


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class FSROptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Four parameter groups: backbone and heads, with and without weight decay.

    The heads learn faster than the backbone. A neck in the backbone counts as a head,
    because its weights are not pretrained. Biases and other 1-D parameters, position
    embeddings, position biases, the class token and the mask token do not decay.
    mmengine's own constructor cannot set both a module's rate and the decay of its
    biases, and makes a group of each parameter.

    ``paramwise_cfg`` takes:

    - ``head_lr_mult``: Factor of the learning rate outside the backbone and in its
      neck. Defaults to 10.
    - ``no_decay_keys``: Parameters do not decay if their name contains one of these.
      Defaults to ("pos_embed", "relative_position_bias_table", "cls_token",
      "mask_token").

    Raises:
        ValueError: If ``paramwise_cfg`` has an unknown key, or the optimiser no ``lr``.
    """

    DEFAULTS = dict(
        head_lr_mult=10.0,
        no_decay_keys=(
            "pos_embed",
            "relative_position_bias_table",
            "cls_token",
            "mask_token",
        ),
    )

    def __init__(
        self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None
    ) -> None:
        # mmengine calls add_params only if paramwise_cfg is not empty.
        super().__init__(optim_wrapper_cfg, self.DEFAULTS | (paramwise_cfg or {}))
        # Otherwise each group is a ConfigDict, and torch 2.14 cannot compile a step.
        self.optimizer_cfg = dict(self.optimizer_cfg)

    def _validate_cfg(self) -> None:
        """Called by mmengine's constructor."""
        unknown = self.paramwise_cfg.keys() - self.DEFAULTS.keys()
        if unknown:
            raise ValueError(
                f"paramwise_cfg has {sorted(unknown)}: FSROptimWrapperConstructor "
                f"expects {', '.join(self.DEFAULTS)}"
            )
        if self.base_lr is None:
            raise ValueError("optim_wrapper.optimizer.lr is missing: give a number")

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Adds the groups of a segmentor to ``params``, in place."""
        head_lr_mult = self.paramwise_cfg["head_lr_mult"]
        no_decay_keys = self.paramwise_cfg["no_decay_keys"]
        groups = {}
        for name, param in module.named_parameters():
            if not param.requires_grad:
                continue
            inside = name.startswith("backbone.")
            # `backbone.neck.`, or `backbone.backbone.neck.` if FSRBackbone is wrapped.
            pretrained = inside and ".neck." not in name
            part = "backbone" if pretrained else "heads"
            decays = param.ndim > 1 and not any(key in name for key in no_decay_keys)
            groups.setdefault((part, decays), []).append(param)
        for (part, decays), members in groups.items():
            group = dict(
                params=members,
                lr=self.base_lr * (1 if part == "backbone" else head_lr_mult),
                weight_decay=(self.base_wd or 0) if decays else 0.0,
            )
            params.append(group)
            log_to_file(
                f"{part}: {len(members)} tensors, lr {group['lr']:g}, "
                f"weight decay {group['weight_decay']:g}"
            )
