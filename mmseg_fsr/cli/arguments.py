"""What the tools share: arguments, config, work directory."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

import mmseg_fsr.checkpoints.runner_loaders  # noqa: F401  (reads files as data)


def positive_int(text: str) -> int:
    """A whole number from 1 on, for argparse.

    Args:
        text: The argument.

    Returns:
        The number.

    Raises:
        ValueError: If it is none.
    """
    number = int(text)
    if number < 1:
        raise ValueError(f"{text}: expected 1 or more")
    return number


def merge_options(cfg: Config, options: dict | None) -> None:
    """Overrides settings of a config.

    A hook in ``custom_hooks``, which is a list, is addressed by its type, as in
    ``custom_hooks.EMATeacherHook.momentum``.

    Args:
        cfg: The config, changed in place.
        options: Settings by dotted key, or None.

    Raises:
        ValueError: If there is no hook of that type.
    """
    numbered = {}
    for key, value in (options or {}).items():
        words = key.split(".")
        if words[0] == "custom_hooks" and len(words) > 1 and not words[1].isdigit():
            types = [hook["type"] for hook in cfg.get("custom_hooks", [])]
            if words[1] not in types:
                raise ValueError(
                    f"{key}: custom_hooks has no {words[1]}, but "
                    f"{', '.join(types) or 'nothing'}"
                )
            words[1] = str(types.index(words[1]))
        numbered[".".join(words)] = value
    cfg.merge_from_dict(numbered)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--cfg-options``, settings that override those of the config.

    Args:
        parser: The parser to extend.
    """
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override settings of the config; lists as key='[a,b]' or key=a,b",
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that mmseg's own ``train.py`` and ``test.py`` share.

    Args:
        parser: The parser to extend, its positional arguments already added.
    """
    parser.add_argument(
        "--work-dir", help="folder of logs and results (default: work_dirs/<config>)"
    )
    add_cfg_options(parser)
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="what started the processes of a distributed run",
    )
    # torch.distributed.launch passes one or the other, by its version.
    parser.add_argument(
        "--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS
    )


def add_converter_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the converters of whole data sets share.

    Args:
        parser: The parser to extend.
    """
    parser.add_argument(
        "--check", action="store_true", help="write nothing, check what is there"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="number of processes (default: that of CPUs)",
    )
    add_overwrite(parser)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Adds ``--overwrite``, without which :func:`require_new` refuses.

    Args:
        parser: The parser to extend.
    """
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that are there"
    )


def require_new(path: str | Path, overwrite: bool) -> None:
    """Refuses to replace a file unasked.

    Args:
        path: The file to be written.
        overwrite: Whether it may be replaced.

    Raises:
        FileExistsError: If it is there and may not.
    """
    if Path(path).exists() and not overwrite:
        raise FileExistsError(f"{path} exists: replace it with --overwrite")


def add_figures_file(parser: argparse.ArgumentParser) -> None:
    """Adds ``--out`` of a benchmark, which :func:`require_figures_file` checks.

    Args:
        parser: The parser to extend.
    """
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    add_overwrite(parser)


def require_figures_file(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> None:
    """Ends the program with one line if the figures could not be written at its end.

    Args:
        parser: A parser that went through :func:`add_figures_file`.
        args: What it parsed.
    """
    if args.out is None:
        return
    if not args.out.parent.is_dir():
        parser.error(f"--out: no such folder: {args.out.parent}")
    try:
        require_new(args.out, args.overwrite)
    except FileExistsError as error:
        parser.error(str(error))


def require_file(parser: argparse.ArgumentParser, kind: str, path: str) -> None:
    """Ends the program with one line if a file is missing.

    Args:
        parser: Whose usage and exit code are used.
        kind: What the file is, for the message.
        path: A local file; anything with ``://`` is left to MMEngine's loader.
    """
    if "://" not in path and not Path(path).is_file():
        parser.exit(2, f"{parser.prog}: error: {kind} not found: {path}\n")


def read_config(path: str | Path, options: dict | None = None) -> Config:
    """Reads a config whose parts are then built without a runner.

    Args:
        path: The config's file.
        options: Settings that override those of the file. Defaults to None.

    Returns:
        The config. Names of components without a scope are looked up in its
        ``default_scope`` from now on, mmseg's if it has none, as a runner would.
    """
    cfg = Config.fromfile(path)
    merge_options(cfg, options)
    init_default_scope(cfg.get("default_scope", "mmseg"))
    return cfg


def build_val_dataset(cfg: Config) -> Dataset:
    """The validation images of a config.

    Args:
        cfg: What :func:`read_config` gives.

    Returns:
        The data set.

    Raises:
        ValueError: If the config has no ``val_dataloader``, or wrong files.
        OSError: If a file is missing.
    """
    if cfg.get("val_dataloader") is None:
        raise ValueError(f"{cfg.filename} has no val_dataloader: it names no images")
    return DATASETS.build(cfg.val_dataloader.dataset)


def load_config(args: argparse.Namespace) -> Config:
    """Reads the config and applies the common arguments.

    Args:
        args: Of a parser that went through :func:`add_common_arguments`, with the
            config's path as ``args.config``.

    Returns:
        The config, with ``launcher`` and ``work_dir`` set. The work directory is the
        argument's, else the config's, else ``work_dirs/`` and the config's name.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    merge_options(cfg, args.cfg_options)
    cfg.work_dir = (
        args.work_dir
        or cfg.get("work_dir")
        or str(Path("work_dirs") / Path(args.config).stem)
    )
    return cfg


@contextlib.contextmanager
def added_to(problems: list[str]) -> Iterator[None]:
    """Adds what is wrong with a file to the problems; the program then goes on.

    Args:
        problems: A line for each problem, for :func:`exit_with`.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        problems.append(str(error))


def exit_with(problems: Sequence[str], shown: int = 20) -> None:
    """Ends the program with what went wrong; returns if nothing did.

    Args:
        problems: A line for each problem.
        shown: How many to print. Defaults to 20.
    """
    for problem in problems[:shown]:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        sys.exit(f"problems: {len(problems)}, shown: {min(len(problems), shown)}")
