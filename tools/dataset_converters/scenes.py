"""Writes the drawn scenes of the demonstration, laid out like PASCAL VOC.

Example:
    python tools/dataset_converters/scenes.py data/scenes --train 800 --val 200
"""

import argparse
from collections.abc import Sequence

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmengine.utils import ProgressBar

from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.scenes import MAX_OBJECTS, write_scenes


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", help="folder to write, such as data/scenes")
    parser.add_argument(
        "--train", type=int, default=800, help="training pictures (default: 800)"
    )
    parser.add_argument(
        "--val", type=int, default=200, help="validation pictures (default: 200)"
    )
    parser.add_argument(
        "--size", type=int, default=128, help="side in pixels (default: 128)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the series (default: 0)"
    )
    parser.add_argument(
        "--max-objects",
        type=int,
        default=MAX_OBJECTS,
        help=f"most objects in a picture (default: {MAX_OBJECTS})",
    )
    parser.add_argument(
        "--grounds",
        type=int,
        default=0,
        help="training pictures besides these that show no object (default: 0)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace scenes of other parameters"
    )
    return parser.parse_args(argv)


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Writes the scenes, unless the same ones are there already."""
    args = parse_args(argv)
    train = args.train + args.grounds
    bar = ProgressBar(train + args.val, start=False)

    def advance(done: int, total: int) -> None:
        if done == 1:
            bar.start()
        bar.update()

    written = write_scenes(**vars(args), progress=advance)
    if written:
        print()
    print(
        f"{'wrote' if written else 'found'} {train} + {args.val} scenes in {args.out}"
    )


if __name__ == "__main__":
    main()
