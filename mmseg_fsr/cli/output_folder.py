"""Folders that the tools write to, without a loss of inputs or of others' files."""

import ast
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from mmseg_fsr.evaluation.cam_iou_metric import configured_metrics
from mmseg_fsr.utils.atomic_write import atomic_write

# Names the tool that filled a folder.
MARK = ".written_by"


def require_own_folder(
    argument: str, folder: str | Path, tool: str, overwrite: bool
) -> None:
    """Refuses a folder that holds files, unless the same tool wrote to it before.

    :func:`mark_folder` marks what a tool fills. Hidden files do not count.

    Args:
        argument: The argument that names the folder, for the message.
        folder: The folder; it need not exist.
        tool: The tool's path in the project.
        overwrite: Whether other files may be replaced.

    Raises:
        FileExistsError: If it holds other files that may not be replaced, or links,
            through which the tool would write elsewhere.
        NotADirectoryError: If it is a file.
    """
    folder = Path(folder)
    mark = folder / MARK
    if not folder.exists() or (mark.is_file() and mark.read_text().strip() == tool):
        return
    _refuse_file(argument, folder)
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if entries and not overwrite:
        raise FileExistsError(
            f"{argument} {folder} holds files that {tool} did not write, such as "
            f"{min(entries).name}: name a new or empty folder, or replace files of the "
            "same names with --overwrite"
        )
    links = [path for path in entries if path.is_symlink()]
    if links:
        raise FileExistsError(
            f"{argument} {folder} holds links, such as {min(links).name}, whose files "
            "would be replaced: name a new or empty folder"
        )


def _refuse_file(argument: str, folder: str | Path) -> None:
    """Refuses a file where a folder is to be written."""
    if Path(folder).exists() and not Path(folder).is_dir():
        raise NotADirectoryError(f"{argument} {folder} is a file: name a folder")


def mark_folder(folder: str | Path, tool: str) -> None:
    """Makes a folder if need be, and notes which tool fills it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / MARK, "w") as file:
        file.write(f"{tool}\n")


class _Source(NamedTuple):
    """A folder of a data set, and whether the folders within it are the set's too."""

    key: str
    folder: Path
    is_deep: bool


def _sources(key: str, dataset: Any) -> Iterator[_Source]:
    """The folders of a data set, and of those that it wraps."""
    if isinstance(dataset, Sequence) and not isinstance(dataset, str):
        for index, part in enumerate(dataset):
            yield from _sources(f"{key}.{index}", part)
    if not isinstance(dataset, Mapping):
        return
    root = str(dataset.get("data_root") or "")
    if root:
        yield _Source(f"{key}.data_root", Path(root), is_deep=False)
    for name, prefix in (dataset.get("data_prefix") or {}).items():
        if isinstance(prefix, str) and (root or prefix):
            folder = Path(root, prefix)
            # A list of names keeps other folders of the root out of the data set.
            is_deep = not (dataset.get("ann_file") and folder == Path(root))
            yield _Source(f"{key}.data_prefix.{name}", folder, is_deep)
    for name in ("dataset", "datasets"):
        yield from _sources(f"{key}.{name}", dataset.get(name))


def refuse_data_folder(argument: str, folder: str | Path, cfg: Config) -> None:
    """Refuses to write to where the images or masks of a config are.

    Args:
        argument: What names the folder, for the message.
        folder: The folder; it need not exist.
        cfg: A config with data loaders.

    Raises:
        NotADirectoryError: If it is a file.
        ValueError: If it is a data set's ``data_root``, or is a folder of its
            ``data_prefix`` or within one.
    """
    _refuse_file(argument, folder)
    path = Path(folder).resolve()
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        dataset = (cfg.get(loader) or {}).get("dataset")
        for source in _sources(f"{loader}.dataset", dataset):
            at = source.folder.resolve()
            if path == at or (source.is_deep and at in path.parents):
                raise ValueError(
                    f"{argument} {folder} is {'' if path == at else 'within '}the "
                    f"folder of {source.key}, from which the config {cfg.filename} "
                    "reads: name another folder"
                )


def metric_folders(cfg: Config, *evaluators: str) -> dict[str, str]:
    """Folders that metrics of a config write label maps to, by what names them.

    Args:
        cfg: The config.
        evaluators: Keys of the evaluators. Defaults to those of validation and test.
    """
    return {
        f"output_dir of {metric['type']} in {key}": metric["output_dir"]
        for key in evaluators or ("val_evaluator", "test_evaluator")
        for metric in configured_metrics(cfg.get(key))
        if metric.get("output_dir")
    }


def require_own_work_dir(cfg: Config) -> None:
    """Refuses a work directory in which the runner would replace what is not its own.

    The runner writes its config there, under the name of the config that was read. The
    folders of :func:`metric_folders` must not be the data's either.

    Raises:
        FileExistsError: If a config of that name is there that no runner wrote.
        ValueError: If a directory is a folder of the config's data.
    """
    refuse_data_folder("the work directory", cfg.work_dir, cfg)
    for key, folder in metric_folders(cfg).items():
        refuse_data_folder(key, folder, cfg)
    config = Path(cfg.filename)
    written = Path(cfg.work_dir) / config.name
    if not written.is_file():
        return
    is_own = (
        _is_dump(written) if config.suffix == ".py" else not written.samefile(config)
    )
    if not is_own:
        raise FileExistsError(
            f"{written} would be replaced: a run writes its settings to its work "
            "directory under the name of its config. Name another folder with "
            "--work-dir"
        )


def _is_dump(path: Path) -> bool:
    """Whether mmengine wrote a Python config: sorted assignments without comments."""
    try:
        statements = ast.parse(path.read_bytes()).body
    except SyntaxError:
        # Values without a text that Python reads; nobody could train with it.
        return True
    names = [
        statement.targets[0].id
        for statement in statements
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
    ]
    if len(names) < len(statements) or names != sorted(names) or "_base_" in names:
        return False
    with tokenize.open(path) as file:
        tokens = tokenize.generate_tokens(file.readline)
        return all(token.type != tokenize.COMMENT for token in tokens)
