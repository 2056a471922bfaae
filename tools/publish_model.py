"""Takes one network's weights, which is what others need, out of a training checkpoint.

The name of the new file ends in the first digits of its SHA-256, as OpenMMLab's do.

Example:
    python tools/publish_model.py iter_20000.pth fsr_vit-b_voc.pth
"""

import argparse
import hashlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import torch
from mmengine.fileio import get_local_path
from torch import Tensor

from mmseg_fsr.checkpoints import (
    NETWORKS,
    Checkpoint,
    load_checkpoint_file,
    network_state_dict,
)
from mmseg_fsr.checkpoints.names import part_of
from mmseg_fsr.checkpoints.network_config import NETWORK_KEY, stored_network_config
from mmseg_fsr.checkpoints.reading import plain_dataset_meta, plain_supervision
from mmseg_fsr.cli.arguments import add_overwrite, require_new
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.utils.atomic_write import atomic_write


def left_out(checkpoint: Checkpoint, network: str, kept: int, meta: dict) -> str:
    """What the checkpoint has and the published file lacks, for a message."""
    (other,) = set(NETWORKS) - {network}
    count = len(checkpoint.state_dict) - kept
    parts = [f"the {other} ({count} tensors)"] if count else []
    for key in checkpoint.rest:
        names = [
            *meta.get("dataset_meta", ()),
            *(k for k in meta if k != "dataset_meta"),
        ]
        rest = f" but for {_listed(names)}" if key == "meta" and names else ""
        parts.append(f"{key}{rest}")
    return ", ".join(parts) or "nothing"


def _listed(words: Sequence[str]) -> str:
    """Words as a text has them."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def published_meta(meta: object) -> dict[str, Any]:
    """What the checkpoint says of its data, its network and its supervision."""
    found = {
        "dataset_meta": plain_dataset_meta(meta),
        NETWORK_KEY: readable_network_config(meta),
        "supervision": plain_supervision(meta),
    }
    return {key: value for key, value in found.items() if value}


def readable_network_config(meta: object) -> dict[str, Any] | None:
    """The network's config; None, with a warning, if it cannot be read."""
    try:
        return stored_network_config(meta)
    except ValueError as error:
        print(
            f"warning: the checkpoint's config cannot be read as data, {error}: left "
            "out, so that nothing will compare it with others' configs",
            file=sys.stderr,
        )
        return None


def published(state_dict: dict[str, Tensor], meta: dict) -> bytes:
    """The content of the file."""
    # torch.save would write the whole storage of a tensor that is a part of it.
    weights = {name: tensor.clone() for name, tensor in state_dict.items()}
    content = io.BytesIO()
    torch.save(dict(meta=meta, state_dict=weights), content)
    return content.getvalue()


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="the checkpoint of training, or its address")
    parser.add_argument(
        "out", type=Path, help="name.pth; the file is written as name-<hash>.pth"
    )
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        default="student",
        help="whose weights; the teacher's get the student's names (default: student)",
    )
    add_overwrite(parser)
    return parser.parse_args(argv)


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Reads the checkpoint, writes the reduced one and says what it left out."""
    args = parse_args(argv)
    if args.out.suffix != ".pth":
        raise ValueError(f"{args.out}: expected a name that ends in .pth")
    checkpoint = load_checkpoint_file(args.checkpoint)
    with get_local_path(args.checkpoint) as path:
        size = Path(path).stat().st_size
    try:
        network = network_state_dict(checkpoint.state_dict, args.network)
        missing = {"backbone", "decode_head"} - set(map(part_of, network))
        if missing:
            raise ValueError(f"no segmentor: has no {' and no '.join(sorted(missing))}")
    except ValueError as error:
        raise ValueError(f"{args.checkpoint}: {error}") from error
    meta = published_meta(checkpoint.rest.get("meta"))
    content = published(network, meta)
    digest = hashlib.sha256(content).hexdigest()
    out = args.out.with_name(f"{args.out.stem}-{digest[:8]}.pth")
    require_new(out, args.overwrite, [args.checkpoint])
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out, "wb") as file:
        file.write(content)
    print(
        f"wrote {out}: {len(network)} tensors of the {args.network}, "
        f"{len(meta.get('dataset_meta', {}).get('classes', ()))} class names\n"
        f"supervision: {'; '.join(meta.get('supervision', ['not stated']))}\n"
        f"{size / 1e6:.1f} MB before, {len(content) / 1e6:.1f} MB after\n"
        f"SHA-256 {digest}\n"
        f"left out: {left_out(checkpoint, args.network, len(network), meta)}"
    )


if __name__ == "__main__":
    main()
