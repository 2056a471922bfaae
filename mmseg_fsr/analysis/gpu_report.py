"""A report on a machine: programs with time limits, the figures they leave, a page."""

import hashlib
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import mmcv
import mmengine
import mmpretrain
import mmseg
import torch

from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.version import __version__

from .benchmark import environment, markdown_table

# Facts that differ between two runs on one machine.
_PASSING = ("date", "load", "threads")
# The parts of a step in which the network itself trains, as benchmark_step.py names
# them.
_STUDENT = ("student", "backward")
# Seconds that a program has to end after SIGTERM.
_GRACE = 5

_START = """\
# GPU report

One command checks and measures a GPU, trains the demo's scenes on it, and writes this
page:

```bash
make gpu-report
```

It takes at most nine minutes of one GPU and, once `make install` is done, downloads
nothing. Each part has a time limit and leaves its figures in `work_dirs/gpu_report/`.
Call it again after a break, or after a part has failed: what is there for the same
machine, versions and commit does not run again, and the training goes on where it
stopped. Some parts alone, and a rehearsal of small sizes on a CPU, which leaves this
page as it is:

```bash
python tools/gpu_report.py --parts step_bfloat16 parts
make gpu-report GPU_REPORT_ARGS=--rehearse
```
"""
_NOT_YET = "It has not run yet: nothing here has been measured on a GPU."
_REHEARSED = "**A rehearsal of small sizes on a CPU: it says nothing about a GPU.**"


@dataclass(frozen=True)
class ReportPart:
    """A part of the report: programs that run one after another.

    Attributes:
        name: Its name, also of its files.
        title: Its title on the page.
        about: What it does, in a sentence or two.
        limit: Seconds that its programs have together.
        commands: Arguments of Python, for each program.
        collect: Reads what the programs left in the part's folder, where ``log.txt`` is
            what they printed. Returns ``figures``, ``tables`` in Markdown and, if they
            say that something is wrong, ``error``.
        exit_codes: Exit codes of a program that has done its work. Defaults to
            ``(0,)``.
    """

    name: str
    title: str
    about: str
    limit: int
    commands: Sequence[Sequence[str]]
    collect: Callable[[Path], dict]
    exit_codes: Sequence[int] = (0,)


def read_part(part: ReportPart, folder: Path) -> dict | None:
    """What :func:`run_part` wrote of a part; None if it has not run in this folder."""
    path = folder / f"{part.name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def run_part(part: ReportPart, folder: Path, root: Path) -> dict:
    """Runs a part's programs and writes ``<name>.json``.

    Args:
        part: The part.
        folder: Existing folder of the report's files. The part's own is below it.
        root: The folder in which the programs run.

    Returns:
        What it wrote: ``date``, ``seconds``, ``error``, ``figures`` and ``tables``.
        ``error`` is None if all went well, else a line that says why not. Figures are
        None if it came to none.
    """
    own = folder / part.name
    own.mkdir(exist_ok=True)
    start = time.monotonic()
    result = dict(date=str(date.today()), error=None, figures=None, tables=[])
    try:
        with open(own / "log.txt", "w") as log:
            for command in part.commands:
                left = start + part.limit - time.monotonic()
                code = _run(command, root, log, left)
                if code is None:
                    raise RuntimeError(f"not done after {part.limit} s")
                if code not in part.exit_codes:
                    raise RuntimeError(f"exit code {code}: {_last_line(log.name)}")
        result |= part.collect(own)
    except (RuntimeError, OSError, ValueError, LookupError) as error:
        result["error"] = str(error) or repr(error)
    result["seconds"] = round(time.monotonic() - start, 1)
    with atomic_write(folder / f"{part.name}.json", "w") as file:
        json.dump(result, file, indent=1)
    return result


def _run(command: Sequence[str], root: Path, log, limit: float) -> int | None:
    """The exit code of Python with these arguments; None if the time is over."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(timeout=max(limit, 0))
    except subprocess.TimeoutExpired:
        return None
    finally:
        # It may have processes of its own.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_GRACE)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _last_line(path: str) -> str:
    lines = Path(path).read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


def benchmark_figures(own: Path) -> dict:
    """What a benchmark of ``tools/analysis`` leaves: a part's ``collect``.

    Args:
        own: Folder with its ``--out figures.json`` and, in ``log.txt``, its tables.
    """
    tables = re.findall(r"(?:^\|.*\n)+", (own / "log.txt").read_text(), re.MULTILINE)
    return dict(
        figures=json.loads((own / "figures.json").read_text()),
        tables=[table.strip() for table in tables],
    )


# ------------------------------------------------------------------- machine


def machine_facts(device: torch.device, root: Path) -> dict[str, str | int | float]:
    """Machine, versions and commit.

    Args:
        device: The GPU, or the CPU.
        root: The project's folder. Without git there, the commit is ``'unknown'``.

    Returns:
        What :func:`~mmseg_fsr.analysis.benchmark.environment` has and ``commit``; of a
        GPU its ``memory``, ``compute capability`` and ``driver``, and the versions of
        ``CUDA`` and ``cuDNN``.
    """
    facts = environment(mmengine, mmcv, mmseg, mmpretrain, device=device)
    facts["mmseg_fsr"] = __version__
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        query = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        facts |= {
            "memory": f"{properties.total_memory / 1e9:.1f} GB",
            "compute capability": f"{properties.major}.{properties.minor}",
            "driver": _output(root, *query).partition("\n")[0] or "unknown",
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
        }
    changes = _changes(root)
    facts["commit"] = _output(root, "git", "rev-parse", "--short", "HEAD") or "unknown"
    if changes:
        digest = hashlib.sha256(changes.encode()).hexdigest()
        facts["commit"] += f" with changes {digest[:8]}"
    return facts


def _changes(root: Path) -> str:
    """What differs from the commit, but for the page itself."""
    paths = ("--", ".", ":!docs/gpu.md")
    return _output(root, "git", "status", "--porcelain", *paths) + _output(
        root, "git", "diff", "HEAD", *paths
    )


def _output(root: Path, *command: str) -> str:
    """What a program prints; nothing if it fails or is not there."""
    try:
        result = subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()


def folder_name(facts: Mapping[str, object]) -> str:
    """Name of a folder that is another one on another machine, version or commit."""
    lasting = {name: fact for name, fact in facts.items() if name not in _PASSING}
    digest = hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()
    return re.sub(r"\W+", "_", str(facts["device"])) + f"_{digest[:8]}"


# --------------------------------------------------------------------- goals


def student_share(figures: dict) -> float:
    """Share of the matrix peak in student and backward pass, of the slowest phase."""
    return min(
        sum(row["part_operations"][part] for part in _STUDENT)
        / sum(row["parts"][part] for part in _STUDENT)
        / figures["matrix_peak"]
        for row in figures["rows"]
    )


def step_rate(figures: dict) -> float:
    """Images a second of the whole step, of the slowest phase."""
    return min(
        row["batch_size"] / statistics.median(row["seconds"]) for row in figures["rows"]
    )


def _part_row(figures: dict, start: str) -> dict:
    (row,) = (row for row in figures["rows"] if row["what"].startswith(start))
    return row


def milliseconds(figures: dict, start: str) -> float:
    """Median time of a row of ``benchmark_parts.py``, by the start of its name."""
    return 1e3 * statistics.median(_part_row(figures, start)["seconds"])


def images_a_second(figures: dict, start: str) -> float:
    """Images a second of such a row."""
    row = _part_row(figures, start)
    return row["images"] / statistics.median(row["seconds"])


@dataclass(frozen=True)
class Goal:
    """A goal on a GPU, as ``docs/speed.md`` has it.

    Attributes:
        what: What is measured.
        goal: The goal in words.
        part: Name of the part that measures it.
        measure: The value, from the part's figures.
        form: Format of the value.
        bound: The least value that meets it, the largest if a lower value is better.
        lower_is_better: Whether it is. Defaults to False.
    """

    what: str
    goal: str
    part: str
    measure: Callable[[dict], float]
    form: str
    bound: float
    lower_is_better: bool = False


GOALS = (
    Goal(
        "bfloat16, 448 px, batch 8: student and backward pass, of the matrix peak",
        "45%",
        "step_bfloat16",
        student_share,
        "{:.0%}",
        0.45,
    ),
    Goal(
        "the whole step, images/s",
        "30, better 60",
        "step_bfloat16",
        step_rate,
        "{:.3g}",
        30,
    ),
    Goal(
        "dense energy, 4 images, 21 classes, 224 x 224, forward and backward",
        "10 ms",
        "parts",
        lambda figures: milliseconds(figures, "dense energy"),
        "{:.3g} ms",
        10,
        lower_is_better=True,
    ),
    Goal(
        "refinement (PAR), 4 images, 4 maps, 224 x 224",
        "5 ms",
        "parts",
        lambda figures: milliseconds(figures, "refinement"),
        "{:.3g} ms",
        5,
        lower_is_better=True,
    ),
    Goal(
        "inference at three scales, mirrored, 500 x 375, bfloat16, images/s",
        "25",
        "parts",
        lambda figures: images_a_second(figures, "inference"),
        "{:.3g}",
        25,
    ),
)


def goals_table(figures: Mapping[str, dict]) -> str:
    """The goals beside what was measured.

    Args:
        figures: Figures of the parts that have run, by name.
    """
    rows = []
    for goal in GOALS:
        measured = met = "not measured"
        if goal.part in figures:
            value = goal.measure(figures[goal.part])
            measured = goal.form.format(value)
            reached = (
                value <= goal.bound if goal.lower_is_better else value >= goal.bound
            )
            met = "yes" if reached else "no"
        rows.append([goal.what, goal.goal, measured, met])
    return markdown_table(["what", "goal", "measured", "reached"], rows)


def loading_table(figures: Mapping[str, dict]) -> str | None:
    """What a step takes beside what a worker loads; None without both.

    Args:
        figures: Figures of the parts that have run, by name.
    """
    if "step_bfloat16" not in figures or "data" not in figures:
        return None
    row = min(figures["data"]["rows"], key=lambda row: row["workers"] or math.inf)
    loaded = statistics.median(row["rates"]) / max(row["workers"], 1)
    lines = []
    for step in figures["step_bfloat16"]["rows"]:
        taken = step["batch_size"] / statistics.median(step["seconds"])
        workers = math.ceil(taken / loaded)
        lines.append([step["phase"], f"{taken:.3g}", f"{loaded:.3g}", workers])
    return markdown_table(
        ["phase", "the step takes, images/s", "a worker loads, images/s", "workers"],
        lines,
    )


def memory_table(figures: Mapping[str, dict]) -> str | None:
    """Memory that was computed for steps beside what they took; None without it.

    Args:
        figures: Figures of the parts that have run, by name. Those of ``memory`` are
            bytes by the name of the part that measures them.
    """
    if "memory" not in figures:
        return None
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
    blocks = [_START.strip(), _NOT_YET if facts is None else _machine(facts)]
    if rehearsed:
        blocks.insert(1, _REHEARSED)
    states = [
        [part.name, part.title, f"{part.limit} s", *_state(results.get(part.name))]
        for part in parts
    ]
    blocks += [
        "## Parts",
        markdown_table(["part", "what", "limit", "took", "date", "state"], states),
        "## Goals",
        "The [goals](speed.md#on-a-gpu) are for a GPU like an H200. Of a step's two "
        "phases the\nslower one counts.",
        goals_table(figures),
    ]
    for part in parts:
        blocks += [f"## {part.title}", part.about]
        result = results.get(part.name)
        if result is None:
            blocks.append("Not run.")
            continue
        if result["error"]:
            blocks.append(f"Failed: {as_code(result['error'])}")
        blocks += result["tables"]
        compare = _COMPARISONS.get(part.name)
        if compare and (table := compare(figures)):
            blocks.append(table)
    return "\n\n".join(blocks) + "\n"


def _machine(facts: Mapping[str, object]) -> str:
    table = markdown_table(["fact", "value"], [list(item) for item in facts.items()])
    return f"## Machine\n\n{table}"


def _state(result: dict | None) -> tuple[str, str, str]:
    if result is None:
        return "", "", "not run"
    state = f"failed: {as_code(result['error'])}" if result["error"] else "done"
    return f"{result['seconds']} s", result["date"], state


def as_code(text: str) -> str:
    """A program's message as code for a cell of a table, at most 200 characters."""
    clean = re.sub(r"[`|]", "'", " ".join(text.split()))
    return f"`{clean[:200]}`"
