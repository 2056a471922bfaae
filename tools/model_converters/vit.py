"""Converts a ViT's weights from timm's names to mmpretrain's, which are ours.

``init_cfg=dict(type='Pretrained', ...)`` of FSRViT reads both layouts: the converter
is for other users of mmpretrain's names.

Example:
    python tools/model_converters/vit.py jx_vit_base_p16_224-80ecf9dd.pth vit-b.pth
"""

import argparse
import sys
from collections.abc import Sequence

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmseg_fsr.utils import load_state_dict_file, save_state_dict_file
from mmseg_fsr.utils.vit_layout import is_timm_layout, timm_to_mmpretrain

# The ImageNet classifier, which is no part of a backbone.
_HEADS = ("head.", "head_dist.", "pre_logits.")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description="Rename a timm ViT's weights to mmpretrain's names"
    )
    parser.add_argument("source", help="weights by timm's names")
    parser.add_argument("out", help="file to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Reads timm's weights and writes the backbone's under mmpretrain's names."""
    args = parse_args(argv)
    try:
        weights = load_state_dict_file(args.source)
        if not is_timm_layout(weights):
            raise ValueError(
                f"{args.source} holds no ViT by timm's names, which start with "
                f"blocks.0., but {', '.join(list(weights)[:3])} ..."
            )
        backbone = {k: x for k, x in weights.items() if not k.startswith(_HEADS)}
        save_state_dict_file(args.out, timm_to_mmpretrain(backbone))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    left_out = sorted(weights.keys() - backbone.keys())
    print(
        f"wrote {args.out}: {len(backbone)} tensors; left out: "
        f"{', '.join(left_out) or 'none'}"
    )


if __name__ == "__main__":
    main()
