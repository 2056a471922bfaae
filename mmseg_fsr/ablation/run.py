"""The trainings of an ablation, and a queue that runs them."""

import copy
import hashlib
import json
import re
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import Config

from mmseg_fsr.cli.arguments import merge_options
from mmseg_fsr.report import logged_scores

from .table import AblationTable, Row


@dataclass(frozen=True, eq=False)
class AblationRun:
    """A row of a table, trained with one seed."""

    table: AblationTable
    row: Row
    seed: int

    def __str__(self) -> str:
        return f"{self.table.name}, {self.row.name}, seed {self.seed}"

    @property
    def key(self) -> dict[str, Any]:
        """What identifies the run's record, see :class:`ResultFile`."""
        return dict(
            table=self.table.name,
            row=self.row.name,
            seed=self.seed,
            config=self.row.config.name,
            cfg_options=self.table.cfg_options | self.row.cfg_options,
        )

    def folder(self, root: Path) -> Path:
        """The run's work directory below ``root``; other options have another one."""
        name = re.sub(r"[^\w.-]+", "_", self.row.name)
        text = json.dumps(self.key, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return root / self.table.name / f"{name}_seed-{self.seed}_{digest}"

    def read_config(self) -> Config:
        """The config with all options.

        Raises:
            ValueError: If an option does not fit the config, or its run does not count
                steps.
        """
        # Merging removes ``_delete_`` from the options that it is given.
        options = copy.deepcopy(self.key["cfg_options"])
        options["randomness.seed"] = self.seed
        cfg = Config.fromfile(self.row.config)
        try:
            merge_options(cfg, options)
        except (KeyError, TypeError, ValueError, AssertionError, IndexError) as error:
            raise ValueError(
                f"{self.table.path}: row {self.row.name}: an option does not fit "
                f"{self.row.config}: {error!r}"
            ) from error
        if "max_iters" not in (cfg.get("train_cfg") or {}):
            raise ValueError(
                f"{self.table.path}: row {self.row.name}: {self.row.config} has no "
                "train_cfg.max_iters: expected a config whose run counts steps"
            )
        return cfg

    def read_scores(self, folder: Path, steps: int) -> dict[str, float]:
        """The scores of the validation after the last step, by the validation's names.

        Raises:
            ValueError: If the last validation came earlier, or lacks a score of the
                table.
        """
        step, scores = _scores_if_logged(folder)
        if step != steps:
            raise ValueError(
                f"{folder}: last validation at step {step} of {steps}: set "
                "train_cfg.val_interval to a divisor of train_cfg.max_iters"
            )
        self.require_scores(scores, folder)
        return scores

    def require_scores(self, scores: Collection[str], where: Path) -> None:
        """Refuses the scores of a folder or file that lack one of the table's.

        Raises:
            ValueError: If one is missing. The message names it and the table.
        """
        missing = set(self.table.scores.values()) - set(scores)
        if missing:
            raise ValueError(
                f"{where}: {self} has no score {', '.join(sorted(missing))}, but "
                f"{', '.join(scores)}: correct scores of {self.table.path}"
            )


def drop_unscored_end(folder: Path, steps: int) -> None:
    """Removes the last checkpoint if the validation after it was broken off.

    The run then repeats its last steps. Resumed from that checkpoint, it would end
    without scores.
    """
    if _scores_if_logged(folder)[0] == steps:
        return
    end = folder / f"iter_{steps}.pth"
    end.unlink(missing_ok=True)
    noted = folder / "last_checkpoint"
    if noted.exists() and Path(noted.read_text().strip()).name == end.name:
        noted.unlink()


def _scores_if_logged(folder: Path) -> tuple[int | None, dict[str, float]]:
    """Step and scores of the last validation; None and nothing without a log."""
    try:
        return logged_scores(folder)
    except FileNotFoundError:
        return None, {}


def planned_runs(
    table: AblationTable,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[AblationRun]:
    """The runs of a table: all rows with the first seed, then with the second.

    Args:
        table: The table.
        rows: Names of the wanted rows. Defaults to None, all.
        seeds: The wanted seeds. Defaults to None, all of the table's.

    Raises:
        ValueError: If the table has no such row or seed.
    """
    names = [row.name for row in table.rows]
    for kind, wanted, known in (("row", rows, names), ("seed", seeds, table.seeds)):
        unknown = [str(entry) for entry in wanted or () if entry not in known]
        if unknown:
            raise ValueError(
                f"{table.path}: no {kind} {', '.join(unknown)} among "
                f"{', '.join(map(str, known))}"
            )
    return [
        AblationRun(table, row, seed)
        for seed in table.seeds
        if seeds is None or seed in seeds
        for row in table.rows
        if rows is None or row.name in rows
    ]


def training_size(cfg: Config) -> str:
    """Size of the images that a config trains on, such as ``'448 x 448'``.

    Args:
        cfg: A config whose training pipeline crops or resizes to a ``scale``.

    Returns:
        Height and width of the first ``scale`` in the pipeline, ``'own'`` if it has
        none.
    """
    pending = [cfg.train_dataloader.dataset]
    while pending:
        entry = pending.pop(0)
        if isinstance(entry, dict):
            if isinstance(entry.get("scale"), Sequence):
                size = entry["scale"]
                # mmcv and mmseg name the width first.
                if not entry["type"].startswith("mmpretrain."):
                    size = reversed(size)
                return " x ".join(map(str, size))
            pending += entry.values()
        elif isinstance(entry, Sequence) and not isinstance(entry, str):
            pending += entry
    return "own"


Job = TypeVar("Job")


def run_queue(
    jobs: Iterable[Job],
    places: Iterable[Mapping[str, str]],
    start: Callable[[Job, Mapping[str, str]], subprocess.Popen | None],
    interval: float = 0.5,
) -> Iterator[tuple[Job, int | None, float]]:
    """Runs a program for each job, one at a time at each place.

    If the caller is interrupted, the running programs get SIGTERM, and it waits for
    their end.

    Args:
        jobs: The jobs, in the order of their start.
        places: Environment variables for the programs at a place, such as the GPU that
            they see.
        start: Starts the program of a job with the variables of a place. It returns
            None if the job may not run now.
        interval: Seconds between two looks at the programs. Defaults to 0.5.

    Yields:
        Job, exit code and seconds of each program that has ended. The exit code is
            None for a job that may not run.
    """
    waiting, free = deque(jobs), list(places)
    running: list[tuple[subprocess.Popen, Job, Mapping[str, str], float]] = []
    try:
        while waiting or running:
            while waiting and free:
                job, begun = waiting.popleft(), time.monotonic()
                process = start(job, free[0])
                if process is None:
                    yield job, None, 0.0
                else:
                    running.append((process, job, free.pop(0), begun))
            ended = [entry for entry in running if entry[0].poll() is not None]
            for entry in ended:
                process, job, place, begun = entry
                running.remove(entry)
                free.append(place)
                yield job, process.returncode, time.monotonic() - begun
            if not ended:
                time.sleep(interval)
    finally:
        for process, *_ in running:
            process.terminate()
        for process, *_ in running:
            process.wait()
