r"""Converts checkpoints of the authors' program to this project's names.

Example:
    python tools/model_converters/official.py student.pth fsr_vit-b_voc.pth \
        --teacher teacher.pth
"""

import argparse
from collections.abc import Sequence

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmseg_fsr.checkpoints import (
    convert_official_state_dict,
    load_state_dict_file,
    save_state_dict_file,
)
from mmseg_fsr.checkpoints.names import TEACHER_PREFIX
from mmseg_fsr.cli.arguments import add_overwrite, require_new
from mmseg_fsr.cli.one_line_errors import one_line_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("student", help="the student's checkpoint, or the only one")
    parser.add_argument("out", help="file to write, for tools/test.py or load_from")
    parser.add_argument(
        "--teacher", help="the teacher's checkpoint; without it only the student"
    )
    add_overwrite(parser)
    return parser.parse_args(argv)


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Reads the checkpoints and writes one for ``WeakSegmentor``."""
    args = parse_args(argv)
    converted, counts = {}, []
    inputs = filter(None, (args.student, args.teacher))
    require_new(args.out, args.overwrite, inputs)
    for network, filename, prefix in (
        ("student", args.student, ""),
        ("teacher", args.teacher, TEACHER_PREFIX),
    ):
        if filename is None:
            continue
        try:
            result = convert_official_state_dict(load_state_dict_file(filename))
        except ValueError as error:
            raise ValueError(f"{network} {filename}: {error}") from error
        converted |= {f"{prefix}{name}": x for name, x in result.tensors.items()}
        counts.append(f"{len(result.tensors)} tensors of the {network}")
    save_state_dict_file(args.out, converted)
    print(f"wrote {args.out}: {', '.join(counts)}{result.report()}")


if __name__ == "__main__":
    main()
