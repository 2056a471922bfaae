"""Checks and measures a GPU, trains the demo's scenes on it, and writes docs/gpu.md.

It takes at most nine minutes. Parts that are there for the same machine, versions and
commit do not run again.

Examples:
    python tools/gpu_report.py
    python tools/gpu_report.py --parts step_bfloat16 parts
    python tools/gpu_report.py --rehearse
"""

import argparse
import json
import os
import signal
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmseg_fsr.ablation import drop_unscored_end
from mmseg_fsr.analysis.benchmark import markdown_table
from mmseg_fsr.analysis.gpu_report import (
    ReportPart,
    as_code,
    benchmark_figures,
    folder_name,
    machine_facts,
    read_part,
    report_page,
    run_part,
)
from mmseg_fsr.analysis.memory import step_memory
from mmseg_fsr.cli.arguments import read_config
from mmseg_fsr.report import find_runs, join_runs, last_scores, score_curves
from mmseg_fsr.utils.atomic_write import atomic_write

ROOT = Path(__file__).resolve().parents[1]
STEP = "tools/analysis/benchmark_step.py"
DRAW = "tools/dataset_converters/scenes.py"
SCENES = "configs/fsr/fsr_vit-t_scenes.py"
# Sizes of what runs, and those of a rehearsal, which has ten times the time.
FULL = dict(
    folder="scenes",
    tests="tests",
    config="configs/fsr/fsr_vit-b_1xb8_voc.py",
    batch=8,
    step="--repeats 5",
    growth="--size 448 320 --batch-size 8 1 16 --labels 2 4 --num-classes 20 80",
    repeats=10,
    large="--train 16 --val 2 --size 500",
    side=448,
    loading="--batches 4 --runs 3",
    scenes="--train 800 --val 200",
    steps=540,
    interval=20,
    time=1,
)
SMALL = dict(
    folder="scenes_rehearsal",
    tests="tests/test_ops",
    config=SCENES,
    batch=1,
    step="--size 48 --repeats 1 --phase uncertain",
    growth="--batch-size 1 2 --size 48",
    repeats=1,
    large="--train 24 --val 2",
    side=48,
    loading="--batches 1 --runs 1",
    scenes="--train 24 --val 2",
    steps=2,
    interval=1,
    time=10,
)
REUSE = "model.reuse_features=True"
SCORES = ("mIoU", "teacher/mIoU", "cam/mIoU", "pseudo_label/mIoU")


def report_parts(folder: Path, sizes: Mapping[str, Any]) -> list[ReportPart]:
    """The parts of the report.

    Args:
        folder: Folder of the report's files on a machine. The scenes are beside it.
        sizes: ``FULL`` or ``SMALL``.
    """
    config, steps = sizes["config"], sizes["steps"]
    batch = f"--batch-size {sizes['batch']}"
    workers = min(8, os.cpu_count())
    scenes = folder.parent / sizes["folder"]
    large = scenes.with_name(f"{scenes.name}_large")

    def benchmark(name: str, options: str, *cfg_options: str) -> list[str]:
        out = ["--overwrite", "--out", str(folder / name / "figures.json")]
        changes = ["--cfg-options", *cfg_options] if cfg_options else []
        return [*options.split(), *out, *changes]

    def step(name: str, options: str) -> list[str]:
        return benchmark(name, f"{STEP} {config} {options}", REUSE)

    def part(name: str, limit: int, title: str, about: str, *commands, **others):
        others = dict(collect=benchmark_figures) | others
        return ReportPart(name, title, about, limit * sizes["time"], commands, **others)

    return [
        part(
            "checks",
            120,
            "Checks",
            "`pytest -m gpu`: results as on a CPU, no wait of the host in a step, half "
            "precision, NCCL, `compile`, resuming.",
            [
                *("-m", "pytest", "-q", "-m", "gpu", sizes["tests"]),
                f"--junitxml={folder / 'checks' / 'tests.xml'}",
            ],
            collect=check_figures,
            exit_codes=(0, 1),
        ),
        part(
            "step_bfloat16",
            60,
            "A step in bfloat16",
            "[A training step](speed.md#a-training-step) of `fsr_vit-b_1xb8_voc.py`.",
            step("step_bfloat16", f"--amp bfloat16 {batch} {sizes['step']}"),
        ),
        part(
            "step_float32",
            60,
            "A step in float32",
            "The same without mixed precision.",
            step("step_float32", f"{batch} {sizes['step']}"),
        ),
        part(
            "growth",
            55,
            "Growth",
            "The step in bfloat16 at other sizes, batches, numbers of labels and of "
            "classes.",
            step(
                "growth",
                f"--amp bfloat16 --phase uncertain --repeats 3 {sizes['growth']}",
            ),
        ),
        part(
            "memory",
            45,
            "Memory",
            "Peak of a step with every loss, as `plan_memory.py` computes it.",
            [
                *("tools/gpu_report.py", "--compute-memory"),
                *(config, str(sizes["batch"]), str(folder / "memory" / "figures.json")),
            ],
        ),
        part(
            "parts",
            40,
            "The parts of a step, inference and DenseCRF",
            "Each by itself, at the sizes of PASCAL VOC.",
            benchmark(
                "parts",
                f"tools/analysis/benchmark_parts.py {config} --amp bfloat16 "
                f"--repeats {sizes['repeats']}",
            ),
        ),
        part(
            "data",
            40,
            "Data loading",
            "Drawn scenes of 500 x 500 pixels, VOC's two views of 448 pixels, batches "
            "of 8.",
            [DRAW, str(large), *sizes["large"].split()],
            benchmark(
                "data",
                f"tools/analysis/benchmark_data.py {SCENES} {sizes['loading']} "
                f"--workers 1 {workers}",
                f"train_dataloader.dataset.data_root={large}",
                "train_dataloader.batch_size=8",
                "train_dataloader.dataset.pipeline.2.transforms.0.0.scale="
                f"{sizes['side']},{sizes['side']}",
            ),
        ),
        part(
            "train",
            110,
            "Training the demo's scenes",
            "The [demo](results.md#the-demo) in mixed precision.",
            [DRAW, str(scenes), *sizes["scenes"].split()],
            [
                *("tools/train.py", SCENES, "--amp", "--resume"),
                *("--work-dir", str(folder / "train" / "work"), "--cfg-options"),
                f"train_dataloader.dataset.data_root={scenes}",
                f"val_dataloader.dataset.data_root={scenes}",
                f"train_dataloader.num_workers={workers}",
                f"train_cfg.max_iters={steps}",
                f"train_cfg.val_interval={steps}",
                f"default_hooks.checkpoint.interval={steps // 2}",
                f"default_hooks.logger.interval={sizes['interval']}",
            ],
            collect=lambda own: train_figures(own / "work", steps),
        ),
    ]


def compute_memory(config: str, batch_size: str, out: str) -> None:
    """Writes what the steps of the parts above should take, in float32 and bfloat16."""
    MMLogger.get_instance("mmseg_fsr", log_level="WARNING")
    cfg = read_config(config, {"model.reuse_features": True})
    computed = {
        name: step_memory(cfg, int(batch_size), amp)
        for name, amp in (("step_float32", None), ("step_bfloat16", "bfloat16"))
    }
    Path(out).write_text(json.dumps(computed))


def check_figures(own: Path) -> dict:
    """Outcomes of the tests from pytest's ``tests.xml``, by test function."""
    outcomes: dict[str, Counter] = {}
    failures = []
    for case in ElementTree.parse(own / "tests.xml").iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        outcome, message = "passed", ""
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                outcome = "skipped" if child.tag == "skipped" else "failed"
                message = child.get("message", "")
        test = name.partition("[")[0].removeprefix("tests.")
        outcomes.setdefault(test, Counter())[outcome] += 1
        if outcome == "failed":
            failures.append([f"`{name.removeprefix('tests.')}`", as_code(message)])
    kinds = ("passed", "failed", "skipped")
    rows = [
        [f"`{test}`", *(found[kind] for kind in kinds)]
        for test, found in outcomes.items()
    ]
    tables = [markdown_table(["test", *kinds], rows)]
    if failures:
        tables.append(markdown_table(["failed", "why"], failures))
    return dict(
        figures=dict(outcomes=outcomes, failures=failures),
        tables=tables,
        error=f"{len(failures)} tests failed" if failures else None,
    )


def train_figures(work_dir: Path, steps: int) -> dict:
    """Scores and images a second of a training of so many steps.

    Raises:
        RuntimeError: If its last validation was broken off. It repeats it when it is
            resumed.
    """
    records, _ = join_runs(find_runs(work_dir))
    step, scores = last_scores(score_curves(records))
    if step != steps:
        drop_unscored_end(work_dir, steps)
        raise RuntimeError(f"no scores of step {steps}: run this part again")
    batch = Config.fromfile(ROOT / SCENES).train_dataloader.batch_size
    # The first steps include what is done once.
    late = [x for x in records if "loss" in x and x["step"] > steps / 2]
    seconds, waiting = (
        statistics.median(record[name] for record in late)
        for name in ("time", "data_time")
    )
    figures = dict(
        steps=steps,
        batch_size=batch,
        images_a_second=batch / seconds,
        data_share=waiting / seconds,
        scores={name: scores[name] for name in SCORES},
    )
    row = [steps, batch, f"{batch / seconds:.3g}", f"{waiting / seconds:.0%}"]
    row += [f"{scores[name]:.2f}" for name in SCORES]
    head = ["steps", "batch", "images/s", "waits for data", *map("`{}`".format, SCORES)]
    return dict(figures=figures, tables=[markdown_table(head, [row])])


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; ends with one line if there is no GPU."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="run small sizes on the CPU; the page is gpu.md in the work directory",
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=[part.name for part in report_parts(Path(), FULL)],
        help="what to run (default: all); the page has the others as they are there",
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=ROOT / "work_dirs/gpu_report",
        help="folder of figures and logs (default: work_dirs/gpu_report)",
    )
    # What the part "memory" runs.
    parser.add_argument("--compute-memory", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.compute_memory or args.rehearse:
        return args
    if not torch.cuda.is_available():
        parser.error(
            "no GPU: torch.cuda.is_available() is False; --rehearse runs small sizes "
            "on the CPU"
        )
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the parts that are not there, and writes the page after each."""
    args = parse_args(argv)
    if args.compute_memory:
        return compute_memory(*args.compute_memory)
    # By default the signal would end this program and leave the running part.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("gpu_report: terminated"))
    if args.rehearse:
        # The programs do not see a GPU.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    facts = machine_facts(torch.device("cpu" if args.rehearse else "cuda"), ROOT)
    work_dir = args.work_dir.resolve()
    folder = work_dir / folder_name(facts)
    folder.mkdir(parents=True, exist_ok=True)
    page = work_dir / "gpu.md" if args.rehearse else ROOT / "docs/gpu.md"
    parts = report_parts(folder, SMALL if args.rehearse else FULL)
    found = {part.name: read_part(part, folder) for part in parts}
    results = {name: result for name, result in found.items() if result}

    for part in parts:
        if args.parts and part.name not in args.parts:
            continue
        if part.name in results and not results[part.name]["error"]:
            print(f"{part.name}: there since {results[part.name]['date']}", flush=True)
            continue
        print(f"{part.name}: at most {part.limit} s ...", flush=True)
        result = results[part.name] = run_part(part, folder, ROOT)
        print(f"{part.name}: {result['error'] or 'done'}, {result['seconds']} s")
        with atomic_write(page, "w") as file:
            file.write(report_page(parts, results, facts, args.rehearse))
    print(f"Page:  {page}\nFiles: {folder}")
    failed = [name for name, result in results.items() if result["error"]]
    if failed:
        sys.exit(
            f"gpu_report: failed: {', '.join(failed)}; call it again to repeat them"
        )


if __name__ == "__main__":
    main()
