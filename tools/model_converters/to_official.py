r"""Converts a checkpoint of this project to the names of the authors' program.

It reverses ``official.py``. The authors' program has a file for each network.

Example:
    python tools/model_converters/to_official.py iter_20000.pth student.pth \
        --teacher teacher.pth
"""

import argparse
from collections.abc import Sequence

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmseg_fsr.checkpoints import (
    convert_to_official,
    load_state_dict_file,
    network_state_dict,
    save_file,
)
from mmseg_fsr.cli.arguments import add_overwrite, require_new
from mmseg_fsr.cli.one_line_errors import one_line_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="of training, published or converted")
    parser.add_argument("student", help="file to write the student to")
    parser.add_argument("--teacher", help="file to write the teacher to")
    add_overwrite(parser)
    return parser.parse_args(argv)


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Reads the checkpoint and writes a file for each network."""
    args = parse_args(argv)
    files = dict(student=args.student, teacher=args.teacher)
    files = {network: file for network, file in files.items() if file is not None}
    if args.student == args.teacher:
        raise ValueError(f"student and teacher are both to go to {args.student}")
    for file in files.values():
        require_new(file, args.overwrite, [args.checkpoint])
    state_dict = load_state_dict_file(args.checkpoint)
    # Both are converted before the first is written.
    results = {}
    for network in files:
        try:
            tensors = network_state_dict(state_dict, network)
            results[network] = convert_to_official(tensors)
        except ValueError as error:
            raise ValueError(f"{network} of {args.checkpoint}: {error}") from error
    for network, file in files.items():
        save_file(file, results[network].tensors)
    for network, file in files.items():
        count = len(results[network].tensors)
        print(f"wrote {file}: {count} tensors of the {network}", end="")
        print(results[network].report())


if __name__ == "__main__":
    main()
