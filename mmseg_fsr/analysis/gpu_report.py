"""A report on a machine: programs with time limits, the figures they leave, a page."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import NamedTuple, TextIO

import mmcv
import mmengine
import mmpretrain
import mmseg
import torch

from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.version import __version__

from .benchmark import STUDENT, environment, markdown_table

_START = """\
# GPU report

One command checks and measures a GPU, trains the demo's scenes on it, and writes this
page:

```bash
make gpu-report
```

It takes at most nine minutes of one GPU and, once `make install` is done, downloads
nothing. Each part has a time limit and leaves its figures in `work_dirs/gpu_report/`.
Call it again after a break, or after a part has failed: what is there for the same GPU,
torch and commit does not run again, unless `--parts` names it. A rehearsal runs small
sizes on a CPU and leaves this page as it is:

```bash
python tools/gpu_report.py --parts step_bfloat16 parts
make gpu-report GPU_REPORT_ARGS=--rehearse
```"""
_NOT_YET = "It has not run yet: nothing here has been measured on a GPU."
_REHEARSED = "**A rehearsal of small sizes on a CPU: it says nothing about a GPU.**"
# How much of a program's output tells why it failed.
_LINES_OF_ERROR = 30


def benchmark_figures(folder: Path) -> tuple[dict, list[str]]:
    """What a benchmark of ``tools/analysis`` leaves, see ``ReportPart.collect``."""
    printed = (folder / "log.txt").read_text()
    tables = re.findall(r"(?:^\|.*\n)+", printed, re.MULTILINE)
    return json.loads((folder / "figures.json").read_text()), tables


class ReportPart(NamedTuple):
    """A part of the report: programs that run one after another.

    Attributes:
        name: Its name, also of its folder.
        limit: Seconds that its programs have together.
        about: What it does, in a sentence or two.
        commands: Arguments of Python for each program, with a space between. ``FOLDER``
            stands for the part's folder.
        collect: Reads that folder, where ``log.txt`` is what the programs printed, and
            gives figures and blocks of Markdown. Defaults to
            :func:`benchmark_figures`.
    """

    name: str
    limit: int
    about: str
    commands: Sequence[str]
    collect: Callable[[Path], tuple[dict, list[str]]] = benchmark_figures


def read_part(part: ReportPart, folder: Path) -> dict | None:
    """What :func:`run_part` wrote of a part; None if it did not come to its end."""
    path = folder / part.name / "result.json"
    return json.loads(path.read_text()) if path.exists() else None


def run_part(part: ReportPart, folder: Path, root: Path) -> dict:
    """Runs a part's programs, in an empty folder, and writes ``result.json`` there.

    Args:
        part: The part.
        folder: Folder of the report's files, in which each part has its own.
        root: The folder in which the programs run.

    Returns:
        What it wrote: ``date``, ``seconds``, ``error``, ``figures`` and ``blocks``.
        ``error`` is None if all went well, else it says why not.
    """
    own = folder / part.name
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    start, error, figures, blocks = time.monotonic(), None, None, []
    try:
        with open(own / "log.txt", "w") as log:
            for command in part.commands:
                words = [x.replace("FOLDER", str(own)) for x in command.split()]
                _run(words, root, log, start + part.limit - time.monotonic())
        figures, blocks = part.collect(own)
    except subprocess.TimeoutExpired:
        error = f"not done after {part.limit} s"
    except subprocess.CalledProcessError as failed:
        lines = (own / "log.txt").read_text(errors="replace").splitlines()
        error = "\n".join([f"exit code {failed.returncode}", *lines[-_LINES_OF_ERROR:]])
    except (OSError, ValueError, LookupError) as failed:
        error = repr(failed)
    result = dict(
        date=str(date.today()),
        seconds=round(time.monotonic() - start, 1),
        error=error,
        figures=figures,
        blocks=blocks,
    )
    with atomic_write(own / "result.json", "w") as file:
        json.dump(result, file, indent=1)
    return result


def _run(words: Sequence[str], root: Path, log: TextIO, seconds: float) -> None:
    """Runs Python as ``subprocess.run``, but also ends what it has started."""
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            code = process.wait(max(seconds, 0))
        except BaseException:  # Ctrl-C, too
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if code:
        raise subprocess.CalledProcessError(code, words)


# ------------------------------------------------------------------- machine


def machine_facts(device: torch.device, root: Path) -> dict[str, str | int | float]:
    """Machine, versions and commit.

    Args:
        device: The GPU, or the CPU.
        root: The project's folder. Without git there, the commit is ``'unknown'``.

    Returns:
        What :func:`~mmseg_fsr.analysis.benchmark.environment` has and ``commit``; of a
        GPU its ``memory``, ``driver`` and ``cuDNN``.
    """

    def printed(command: str) -> str:
        result = subprocess.run(
            command, shell=True, cwd=root, capture_output=True, text=True
        )
        return result.stdout.strip()

    facts = environment(mmengine, mmcv, mmseg, mmpretrain, device=device)
    facts["mmseg_fsr"] = __version__
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        facts |= {
            "memory": f"{memory / 1e9:.1f} GB",
            "driver": printed(
                "nvidia-smi --query-gpu=driver_version --format=csv,noheader --id=0"
            ),
            "cuDNN": torch.backends.cudnn.version(),
        }
    facts["commit"] = printed("git rev-parse --short HEAD") or "unknown"
    # The report itself writes the page.
    if printed("git status --porcelain -- . ':!docs/gpu.md'"):
        facts["commit"] += " with changes"
    return facts


def folder_name(facts: Mapping[str, object]) -> str:
    """Name of the folder for a GPU, torch and commit."""
    names = (facts[name] for name in ("device", "torch", "commit"))
    return re.sub(r"\W+", "_", " ".join(map(str, names)))


# --------------------------------------------------------------------- goals


def _student_share(figures: dict) -> float:
    """Share of the matrix peak in student and backward pass, of the slowest phase."""
    return min(
        sum(row["part_operations"][part] for part in STUDENT)
        / sum(row["parts"][part] for part in STUDENT)
        / figures["matrix_peak"]
        for row in figures["rows"]
    )


def _step_rate(row: dict) -> float:
    """Images a second of a row of ``benchmark_step.py``."""
    return row["batch_size"] / median(row["seconds"])


def _seconds(figures: dict, start: str) -> float:
    """Time of a row of ``benchmark_parts.py``, by the start of its name."""
    (row,) = (row for row in figures["rows"] if row["what"].startswith(start))
    return median(row["seconds"])


class Goal(NamedTuple):
    """A goal on a GPU like an H200.

    Attributes:
        what: What is measured.
        goal: The goal in words.
        part: Name of the part that measures it.
        measured: The value in words, from the part's figures.
    """

    what: str
    goal: str
    part: str
    measured: Callable[[dict], str]


GOALS = (
    Goal(
        "bfloat16, 448 px, batch 8: student and backward pass, of the matrix peak",
        "45%",
        "step_bfloat16",
        lambda figures: f"{_student_share(figures):.0%}",
    ),
    Goal(
        "the whole step, images/s",
        "30, better 60",
        "step_bfloat16",
        lambda figures: f"{min(map(_step_rate, figures['rows'])):.3g}",
    ),
    Goal(
        "dense energy, 4 images, 21 classes, 224 x 224, forward and backward",
        "10 ms",
        "parts",
        lambda figures: f"{1e3 * _seconds(figures, 'dense energy'):.3g} ms",
    ),
    Goal(
        "refinement (PAR), 4 images, 4 maps, 224 x 224",
        "5 ms",
        "parts",
        lambda figures: f"{1e3 * _seconds(figures, 'refinement'):.3g} ms",
    ),
    Goal(
        "inference at three scales, mirrored, 500 x 375, bfloat16, images/s",
        "25",
        "parts",
        lambda figures: f"{1 / _seconds(figures, 'inference'):.3g}",
    ),
)


def goals_table(figures: Mapping[str, dict]) -> str:
    """The goals beside what was measured.

    Args:
        figures: Figures of the parts that have run, by name.
    """
    rows = []
    for goal in GOALS:
        measured = "not measured"
        if goal.part in figures:
            measured = goal.measured(figures[goal.part])
        rows.append([goal.what, goal.goal, measured])
    return markdown_table(["what", "goal", "measured"], rows)


def loading_table(figures: Mapping[str, dict]) -> str:
    """What a step takes beside what one worker loads; nothing without a step.

    Args:
        figures: Figures of the parts that have run, by name. Those of ``data`` begin
            with one worker.
    """
    if "step_bfloat16" not in figures:
        return ""
    loaded = median(figures["data"]["rows"][0]["rates"])
    rows = []
    for step in figures["step_bfloat16"]["rows"]:
        taken = _step_rate(step)
        workers = math.ceil(taken / loaded)
        rows.append([step["phase"], f"{taken:.3g}", f"{loaded:.3g}", workers])
    return markdown_table(
        ["phase", "the step takes, images/s", "a worker loads, images/s", "workers"],
        rows,
    )


def memory_table(figures: Mapping[str, dict]) -> str:
    """Memory that was computed for steps beside what they took.

    Args:
        figures: Figures of the parts that have run, by name. Those of ``memory`` are
            bytes by the name of the part that measures them.
    """
    rows = []
    for name, computed in figures["memory"].items():
        measured = share = "not measured"
        if name in figures:
            peak = max(row["peak_memory"] for row in figures[name]["rows"])
            measured, share = f"{peak / 1e9:.2f}", f"{computed / peak:.0%}"
        rows.append([name, f"{computed / 1e9:.2f}", measured, share])
    head = ["step", "computed, GB", "measured, GB", "computed of measured"]
    return markdown_table(head, rows)


# What follows from the figures of several parts, by the part that it goes with.
_COMPARISONS = {"data": loading_table, "memory": memory_table}


# ---------------------------------------------------------------------- page


def report_page(
    parts: Sequence[ReportPart],
    results: Mapping[str, dict],
    facts: Mapping[str, object] | None = None,
    rehearsed: bool = False,
) -> str:
    """The report as a Markdown page, also before or amid its run.

    Args:
        parts: All parts.
        results: What :func:`run_part` gave for those that ran, by name.
        facts: Of :func:`machine_facts`. Defaults to None, for a page that says what a
            report will hold.
        rehearsed: Whether it is a rehearsal. Defaults to False.
    """
    figures = {
        name: result["figures"] for name, result in results.items() if result["figures"]
    }
    states, sections = [], []
    for part in parts:
        state, took, day, blocks = "not run", "", "", ["Not run."]
        if result := results.get(part.name):
            took, day = f"{result['seconds']} s", result["date"]
            state, blocks = "done", [*result["blocks"]]
            if result["error"]:
                state, blocks = "failed", ["Failed:", as_code(result["error"])]
        if part.name in figures and part.name in _COMPARISONS:
            blocks.append(_COMPARISONS[part.name](figures))
        states.append([part.name, f"{part.limit} s", took, day, state])
        sections += [f"## {part.name}", part.about, *blocks]
    machine = [_NOT_YET]
    if facts is not None:
        machine = ["## Machine", markdown_table(["fact", "value"], [*facts.items()])]
    blocks = [
        _START,
        _REHEARSED if rehearsed else "",
        *machine,
        "## What ran",
        markdown_table(["part", "limit", "took", "date", "state"], states),
        "## Goals",
        "For a GPU like an H200. Of a step's two phases the slower one counts.",
        goals_table(figures),
        *sections,
    ]
    return "\n\n".join(filter(None, map(str.strip, blocks))) + "\n"


def as_code(text: str) -> str:
    """A program's output as a block of Markdown."""
    return f"```text\n{text.strip()}\n```"
