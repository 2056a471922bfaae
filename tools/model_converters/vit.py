"""Renames a ViT between timm, mmpretrain and this project.

Example:
    python tools/model_converters/vit.py iter_20000.pth vit-b_timm.pth --to timm
"""

import argparse
from collections.abc import Sequence

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from torch import Tensor

from mmseg_fsr.checkpoints import (
    LAYOUTS,
    NETWORKS,
    convert_vit,
    load_state_dict_file,
    network_state_dict,
    save_file,
    save_state_dict_file,
)
from mmseg_fsr.checkpoints.names import count_by_part, under_prefix
from mmseg_fsr.cli.arguments import add_overwrite, require_new
from mmseg_fsr.cli.one_line_errors import one_line_errors

PREFIX = "backbone."


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkpoint", help="a ViT of timm or mmpretrain, or a checkpoint of ours"
    )
    parser.add_argument("out", help="file to write")
    parser.add_argument(
        "--to", required=True, choices=LAYOUTS, help="whose names to write"
    )
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        default="student",
        help="of a checkpoint of ours (default: student)",
    )
    add_overwrite(parser)
    return parser.parse_args(argv)


def split_backbone(
    state_dict: dict[str, Tensor], network: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The backbone's tensors without prefix, and the names of the others."""
    if network == "teacher" or any(name.startswith(PREFIX) for name in state_dict):
        state_dict = network_state_dict(state_dict, network)
    else:
        # timm's files, and those of a backbone alone, have no prefix.
        return state_dict, []
    others = [name for name in state_dict if not name.startswith(PREFIX)]
    return under_prefix(state_dict, PREFIX), others


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Reads the checkpoint and writes its backbone by other names."""
    args = parse_args(argv)
    require_new(args.out, args.overwrite, [args.checkpoint])
    state_dict = load_state_dict_file(args.checkpoint)
    try:
        backbone, others = split_backbone(state_dict, args.network)
        result = convert_vit(backbone, args.to)
    except ValueError as error:
        raise ValueError(f"{args.checkpoint}: {error}") from error
    result.left_out.extend(count_by_part(others))
    if args.to == "timm":
        save_file(args.out, result.tensors)
    else:
        tensors = {f"{PREFIX}{name}": x for name, x in result.tensors.items()}
        save_state_dict_file(args.out, tensors)
    print(f"wrote {args.out}: {len(result.tensors)} tensors{result.report()}")


if __name__ == "__main__":
    main()
