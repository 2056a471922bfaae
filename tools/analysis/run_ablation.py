"""Trains the rows of ablation tables, and writes a page that compares them.

A table names configs, seeds and scores (see docs/run_ablations.md). Runs that have a
result are skipped, and interrupted runs are resumed. Results are added to a JSON file
as they come.

Example:
    python tools/analysis/run_ablation.py configs/fsr/ablations/r50_voc-mini.yaml
"""

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import mmseg_fsr

# isort: split
import mmengine
import mmseg
import torch
from mmengine.config import Config

from mmseg_fsr.ablation import (
    AblationRun,
    AblationTable,
    ResultFile,
    drop_unscored_end,
    markdown_page,
    planned_runs,
    read_table,
    require_page,
    run_queue,
    training_size,
)
from mmseg_fsr.analysis.benchmark import environment
from mmseg_fsr.cli.arguments import positive_int
from mmseg_fsr.utils.atomic_write import atomic_write

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "tools" / "train.py"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="+", type=Path, metavar="TABLE.yaml")
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path("work_dirs/ablations"),
        help="folder of the runs (default: work_dirs/ablations)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="JSON file that keeps the results (default: WORK_DIR/results.json)",
    )
    parser.add_argument(
        "--markdown", type=Path, help="page to write (default: WORK_DIR/results.md)"
    )
    parser.add_argument("--rows", nargs="+", help="train only these rows")
    parser.add_argument("--seeds", nargs="+", type=int, help="train only these seeds")
    parser.add_argument(
        "--jobs",
        type=positive_int,
        help="runs at a time (default: one for each GPU; without a GPU 1)",
    )
    parser.add_argument(
        "--collect", action="store_true", help="train nothing, only write the page"
    )
    args = parser.parse_args(argv)
    args.results = args.results or args.work_dir / "results.json"
    args.markdown = args.markdown or args.work_dir / "results.md"
    return args


def commit() -> str:
    """The commit of this checkout, marked if files were changed; else the version."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode == 0:
            return found.stdout.strip()
    return f"version {mmseg_fsr.__version__}"


def places(jobs: int | None) -> list[dict[str, str]]:
    """Environment variables for each of the runs that go on at a time."""
    count = torch.cuda.device_count()
    if count:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else list(map(str, range(count)))
        return [
            dict(CUDA_VISIBLE_DEVICES=names[i % count]) for i in range(jobs or count)
        ]
    jobs = jobs or 1
    if "OMP_NUM_THREADS" in os.environ:
        return [{}] * jobs
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    return [dict(OMP_NUM_THREADS=str(threads))] * jobs


def machine() -> dict[str, str | int | float]:
    """What the figures depend on, except for a run's share of the threads."""
    facts = environment(mmengine, mmseg)
    del facts["load"], facts["threads"]
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def require_all_scores(tables: Sequence[AblationTable], results: ResultFile) -> None:
    """Refuses results that lack a score which was added to their table later."""
    for table in tables:
        for run in planned_runs(table):
            record = results.find(run.key)
            if record is not None:
                run.require_scores(record["scores"], results.path)


def start(
    run: AblationRun, cfg: Config, folder: Path, place: Mapping[str, str]
) -> subprocess.Popen | None:
    """Starts or resumes a training; None if another program is training it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "train.log", "a") as log:
        # The training inherits the lock, which therefore outlives this program.
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        config = folder / "config.py"
        cfg.dump(config)
        drop_unscored_end(folder, cfg.train_cfg.max_iters)
        print(f"begins: {run}, log in {log.name}", flush=True)
        return subprocess.Popen(
            [sys.executable, TRAIN, config, "--work-dir", folder, "--resume"],
            env=os.environ | place,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def result(run: AblationRun, cfg: Config, folder: Path, code: int | None) -> dict:
    """What a training gave.

    Raises:
        ValueError: If it failed, did not run, or has no scores.
    """
    if code is None:
        raise ValueError(f"another program is training it, see {folder}")
    if code:
        raise ValueError(f"exit code {code}, see {folder / 'train.log'}")
    steps = cfg.train_cfg.max_iters
    scores = run.read_scores(folder, steps)
    return dict(steps=steps, size=training_size(cfg), scores=scores)


def train_all(
    runs: Sequence[AblationRun], args: argparse.Namespace, results: ResultFile
) -> list[str]:
    """Trains the runs without a result, and adds their results as they come.

    Returns:
        A line for each run that failed.
    """
    waiting = [run for run in runs if results.find(run.key) is None]
    # All configs must be readable before the first run.
    configs = {run: run.read_config() for run in waiting}
    folders = {run: run.folder(args.work_dir) for run in waiting}
    print(f"{len(runs)} runs, {len(runs) - len(waiting)} of them done before")
    facts = dict(machine=machine(), commit=commit())
    at_a_time = places(args.jobs)
    ended = run_queue(
        waiting,
        at_a_time,
        lambda run, place: start(run, configs[run], folders[run], place),
    )
    failed, times = [], []
    for count, (run, code, seconds) in enumerate(ended, start=1):
        if code is not None:
            times.append(seconds)
        try:
            found = result(run, configs[run], folders[run], code)
            results.add(run.key | facts | found | dict(seconds=round(seconds)))
            scores = found["scores"]
            outcome = f"{run}: " + ", ".join(
                f"{name} {scores[key]:.2f}" for name, key in run.table.scores.items()
            )
        except ValueError as error:
            outcome = f"{run}: {error}"
            failed.append(outcome)
        took = ""
        if times:
            left = (len(waiting) - count) * sum(times) / len(times) / len(at_a_time)
            seconds, left = (timedelta(seconds=round(x)) for x in (seconds, left))
            took = f" ({seconds}; about {left} to go)"
        print(f"[{count}/{len(waiting)}] {outcome}{took}", flush=True)
    return failed


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, collects, writes the page."""
    args = parse_args(argv)
    # As Ctrl-C does, it lets the runs save and end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        tables = [read_table(path) for path in args.tables]
        if len({table.name for table in tables}) < len(tables):
            raise ValueError("two tables have one file name: give each its own")
        if args.results.resolve() == args.markdown.resolve():
            raise ValueError(f"--results and --markdown are both {args.results}")
        require_page(args.markdown)
        for path in (args.results, args.markdown):
            path.parent.mkdir(parents=True, exist_ok=True)
        results = ResultFile(args.results)
        require_all_scores(tables, results)
        runs = [
            run
            for table in tables
            for run in planned_runs(table, args.rows, args.seeds)
        ]
        failed = [] if args.collect else train_all(runs, args, results)
        found = [
            (table, [results.find(run.key) for run in planned_runs(table)])
            for table in tables
        ]
        page = markdown_page(
            [(table, [r for r in records if r is not None]) for table, records in found]
        )
        with atomic_write(args.markdown, "w") as file:
            file.write(page)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (OSError, ValueError, SyntaxError, ImportError) as error:
        sys.exit(f"run_ablation.py: error: {error}")
    print(f"Wrote {args.markdown}")
    if failed:
        sys.exit("\n".join(["run_ablation.py: error:", *failed]))


if __name__ == "__main__":
    main()
