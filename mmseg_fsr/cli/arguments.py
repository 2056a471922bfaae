"""Arguments of the tools, and the configs that they read."""

import argparse
import contextlib
import logging
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from mmseg_fsr.utils.config_file import load_config
from mmseg_fsr.utils.nested_dicts import type_name

from .one_line_errors import input_sentence
from .output_folder import require_own_work_dir
from .unread_options import unknown_settings, unread_options

_MMENGINE_HOOKS = (
    *("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler"),
    "checkpoint",
)


def positive_int(text: str) -> int:
    """A type of arguments for argparse: whole numbers from 1 on.

    Raises:
        ArgumentTypeError: If the argument is not such a number.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return int(text)


def positive_float(text: str) -> float:
    """A type of arguments for argparse: finite numbers above 0.

    Raises:
        ArgumentTypeError: If the argument is not such a number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return value


def merge_options(cfg: Config, options: dict | None) -> None:
    """Overrides settings of a config, in place, by dotted key.

    ``custom_hooks`` is a list, whose hooks are addressed by their type, as in
    ``custom_hooks.EMATeacherHook.momentum``, or by their number; None removes one. A
    warning names the settings that nothing will read.

    Raises:
        ValueError: If ``custom_hooks`` has no hook of that type or number, or a value
            is the text of a dict.
    """
    numbered, removed = {}, set()
    for key, value in (options or {}).items():
        _refuse_text_of_dict(key, value)
        first, *rest = key.split(".")
        if first == "custom_hooks" and rest:
            types = [hook["type"] for hook in cfg.get("custom_hooks", [])]
            if rest[0] not in (*types, *map(str, range(len(types)))):
                raise ValueError(
                    f"{key}: custom_hooks has no {rest[0]}, but "
                    f"{', '.join(types) or 'nothing'}; other hooks are in "
                    "default_hooks (docs/renamed.md)"
                )
            if rest[0] in types:
                rest[0] = str(types.index(rest[0]))
            if value is None and len(rest) == 1:
                removed.add(int(rest[0]))
                continue
        numbered[".".join([first, *rest])] = value
    _warn_of(f"option {line}" for line in unread_options(cfg, numbered))
    cfg.merge_from_dict(numbered)
    if removed:
        cfg.custom_hooks = [
            hook for i, hook in enumerate(cfg.custom_hooks) if i not in removed
        ]


def _warn_of(lines: Iterable[str]) -> None:
    """Warns of settings, by one of several processes."""
    if not any(int(os.environ.get(rank, 0)) for rank in ("RANK", "SLURM_PROCID")):
        for line in lines:
            print_log(line, "current", logging.WARNING)


def _refuse_text_of_dict(key: str, value: object) -> None:
    """Refuses what mmengine's ``DictAction`` leaves as text."""
    for part in value if isinstance(value, list | tuple) else [value]:
        if isinstance(part, str) and part.strip().startswith(("dict(", "{")):
            raise ValueError(
                f"{key}: {part} would be read as text: give each of its keys, as "
                f"{key}.KEY=VALUE, or write a config whose _base_ is this one"
            )


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--cfg-options``, which override settings of the config."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override settings of the config; lists as key='[a,b]' or key=a,b",
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that mmseg's own ``train.py`` and ``test.py`` share."""
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
    # Versions of torch.distributed.launch differ in the spelling.
    parser.add_argument(
        "--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS
    )


def add_converter_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that converters of whole data sets share."""
    parser.add_argument(
        "--check", action="store_true", help="write nothing, check what is there"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="number of processes (default: the number of CPUs)",
    )
    add_overwrite(parser)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Adds ``--overwrite``, for :func:`require_new`."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace existing files"
    )


def add_inference_amp(parser: argparse.ArgumentParser) -> None:
    """Adds ``--amp``, for ``test_cfg.fp16`` of a config."""
    parser.add_argument(
        "--amp",
        action="store_true",
        help="run the network in float16 on a GPU, in bfloat16 on a CPU",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Adds ``--amp`` of tools that compute or time a step, with a dtype."""
    parser.add_argument(
        "--amp",
        choices=["bfloat16", "float16"],
        help="mixed precision (default: float32)",
    )


def require_new(
    path: str | Path, overwrite: bool, inputs: Iterable[str | Path] = ()
) -> None:
    """Refuses to replace a file without ``--overwrite``, and ever to replace an input.

    Args:
        path: The file to write.
        overwrite: Whether it may replace a file.
        inputs: Files, and folders of files, that the tool reads. Addresses are left
            out.

    Raises:
        FileExistsError: If the file exists and may not be replaced.
        IsADirectoryError: If it is a folder.
    """
    path = Path(path)
    if not path.exists():
        return
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file")
    for source in map(Path, inputs):
        # A link may lead to it.
        is_within = source.is_dir() and source.resolve() in path.resolve().parents
        if is_within or (source.exists() and path.samefile(source)):
            where = "in" if is_within else "the same file as"
            raise FileExistsError(
                f"{path} is {where} {source}, which is read: name another file to write"
            )
    if not overwrite:
        raise FileExistsError(f"{path} exists: replace it with --overwrite")


def add_figures_file(parser: argparse.ArgumentParser) -> None:
    """Adds ``--out`` and ``--overwrite`` of a benchmark, for its figures.

    :func:`require_figures_file` checks them.
    """
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    add_overwrite(parser)


def require_figures_file(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> None:
    """Ends the program with one line if it could not write its file at the end."""
    if args.out is None:
        return
    if not args.out.parent.is_dir():
        parser.error(f"--out: no such folder: {args.out.parent}")
    inputs = args.config if isinstance(args.config, list) else [args.config]
    try:
        require_new(args.out, args.overwrite, inputs)
    except OSError as error:
        parser.error(str(error))


def require_file(parser: argparse.ArgumentParser, kind: str, path: str) -> None:
    """Ends the program with one line if a file is missing.

    Args:
        parser: The parser, whose program's name the message has.
        kind: What the file is, such as "config", for the message.
        path: A local file. An address with ``://`` is not checked here.
    """
    if "://" not in path and not Path(path).is_file():
        parser.exit(2, f"{parser.prog}: error: {kind} not found: {path}\n")


def read_config(path: str | Path, options: dict | None = None) -> Config:
    """Reads a config whose parts are built without a runner.

    As a runner would, it makes the config's ``default_scope`` (mmseg's if it has none)
    the one in which components are looked up from now on.

    Args:
        path: The config's file.
        options: Settings that override those of the file. Defaults to None.

    Raises:
        ValueError: If the file is no Python that can be read, or an option is wrong.
    """
    cfg = load_config(path)
    merge_options(cfg, options)
    init_default_scope(cfg.get("default_scope", "mmseg"))
    return cfg


def read_step_config(path: str, options: dict | None = None) -> Config:
    """Reads a config whose training step a tool computes or times.

    Ends with one line if its model is no ``WeakSegmentor``.
    """
    cfg = read_config(path, options)
    kind = cfg.get("model", {}).get("type")
    if kind != "WeakSegmentor":
        sys.exit(
            f"error: {path} has model.type='{kind}': expected 'WeakSegmentor', whose "
            "training step this tool knows"
        )
    return cfg


def build_val_dataset(cfg: Config) -> Dataset:
    """The validation images of a config that :func:`read_config` gave.

    Raises:
        ValueError: If the config has no ``val_dataloader``, or a file is wrong.
        OSError: If a file is missing.
    """
    if cfg.get("val_dataloader") is None:
        raise ValueError(f"{cfg.filename} has no val_dataloader: it names no images")
    return DATASETS.build(cfg.val_dataloader.dataset)


def runner_config(args: argparse.Namespace, subfolder: str = "") -> Config:
    """Reads a runner's config and applies the common arguments to it.

    Args:
        args: Arguments of :func:`add_common_arguments`, and the config's path as
            ``args.config``.
        subfolder: Folder within the work directory to take unless ``--work-dir`` names
            one. Defaults to the work directory itself.

    Returns:
        The config, with ``launcher`` and ``work_dir`` set. The work directory is that
        of ``--work-dir``, else that of the config, else ``work_dirs/<config>``.

    Raises:
        FileExistsError: If the runner would replace a config that no runner wrote.
        ValueError: If the file is no Python that can be read, an option or hook does
            not fit, or the work directory is a folder of the config's data.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = load_config(args.config)
    cfg.launcher = args.launcher
    _warn_of(f"config {args.config}: {line}" for line in unknown_settings(cfg))
    merge_options(cfg, args.cfg_options)
    _drop_removed_hooks(cfg)
    _refuse_doubled_hooks(cfg)
    default = cfg.get("work_dir") or Path("work_dirs") / Path(args.config).stem
    cfg.work_dir = args.work_dir or str(Path(default) / subfolder)
    require_own_work_dir(cfg)
    return cfg


def _drop_removed_hooks(cfg: Config) -> None:
    """Drops default hooks that are None: mmengine does so with its own alone."""
    for name, hook in list(cfg.get("default_hooks", {}).items()):
        if hook is None and name not in _MMENGINE_HOOKS:
            del cfg.default_hooks[name]


def _refuse_doubled_hooks(cfg: Config) -> None:
    """Refuses a custom hook that ``default_hooks`` has too: it would act twice."""
    names = {
        type_name(hook): name
        for name, hook in cfg.get("default_hooks", {}).items()
        if hook
    }
    for hook in cfg.get("custom_hooks") or []:
        kind = type_name(hook)
        if kind in names:
            raise ValueError(
                f"{kind} is in custom_hooks of {cfg.filename}, and already is "
                f"default_hooks.{names[kind]}: remove it from custom_hooks "
                "(docs/renamed.md)"
            )


@contextlib.contextmanager
def collecting_problems(problems: list[str]) -> Iterator[None]:
    """Adds an error of files or config to the problems, and the program continues."""
    try:
        yield
    except Exception as error:
        sentence = input_sentence(error)
        if sentence is None:
            raise
        problems.append(sentence)


def exit_with(problems: Sequence[str], shown: int = 20) -> None:
    """Prints the problems and ends the program; returns if there are none.

    Args:
        problems: One line for each problem.
        shown: The largest number to print. Defaults to 20.
    """
    for problem in problems[:shown]:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        sys.exit(f"problems: {len(problems)}, shown: {min(len(problems), shown)}")
