"""Checks and measures a GPU, trains the demo's scenes on it, and writes docs/gpu.md.

It takes at most nine minutes. Parts that are there for the same GPU, torch and commit
do not run again.

Examples:
    python tools/gpu_report.py
    python tools/gpu_report.py --parts step_bfloat16 parts
    python tools/gpu_report.py --rehearse
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import torch
from mmengine.logging import MMLogger

from mmseg_fsr.analysis.benchmark import markdown_table
from mmseg_fsr.analysis.gpu_report import (
    ReportPart,
    as_code,
    folder_name,
    machine_facts,
    read_part,
    report_page,
    run_part,
)
from mmseg_fsr.analysis.memory import step_memory
from mmseg_fsr.cli.arguments import read_config
from mmseg_fsr.utils.atomic_write import atomic_write

ROOT = Path(__file__).resolve().parents[1]
SCENES = "configs/fsr/fsr_vit-t_scenes.py"
SCORES = ("mIoU", "teacher/mIoU", "cam/mIoU", "pseudo_label/mIoU")
# Sizes of what the parts run, and by how much their limits are multiplied.
FULL = dict(
    patience=1,
    tests="tests",
    config="configs/fsr/fsr_vit-b_1xb8_voc.py",
    batch=8,
    step="--repeats 5",
    growth="--size 448 320 --batch-size 8 1 16 --labels 2 4 --num-classes 20 80",
    parts="--repeats 10",
    data="train_dataloader.dataset.pipeline.2.transforms.0.0.scale=448,448 "
    "--batches 4 --runs 3",
    scenes="--train 800 --val 200",
    train="",
)
SMALL = dict(
    patience=10,
    tests="tests/test_ops",
    config=SCENES,
    batch=1,
    step="--size 48 --repeats 1 --phase uncertain",
    growth="--size 48 --batch-size 1 2",
    parts="--repeats 1",
    data="--batches 1 --runs 1",
    scenes="--train 24 --val 2",
    train="train_cfg.max_iters=2 train_cfg.val_interval=2 "
    "default_hooks.logger.interval=1",
)


def report_parts(sizes: Mapping[str, str | int]) -> list[ReportPart]:
    """The parts of the report.

    Args:
        sizes: ``FULL`` or ``SMALL``.
    """
    patience, config, batch = sizes["patience"], sizes["config"], sizes["batch"]
    workers = min(8, os.cpu_count())
    out = "--out FOLDER/figures.json"
    step = (
        f"tools/analysis/benchmark_step.py {config} "
        f"--cfg-options model.reuse_features=True {out}"
    )
    draw = "tools/dataset_converters/scenes.py FOLDER/scenes"
    return [
        ReportPart(
            "checks",
            120 * patience,
            "`pytest -m gpu`: results as on a CPU, no wait of the host in a step, half "
            "precision, NCCL, `compile`, resuming.",
            [f"-m pytest -vv -rA -m gpu {sizes['tests']}"],
            check_outcomes,
        ),
        ReportPart(
            "step_bfloat16",
            60 * patience,
            "[A training step](speed.md#a-training-step) of `fsr_vit-b_1xb8_voc.py` in "
            "bfloat16.",
            [f"{step} --amp bfloat16 --batch-size {batch} {sizes['step']}"],
        ),
        ReportPart(
            "step_float32",
            60 * patience,
            "The same step in float32.",
            [f"{step} --batch-size {batch} {sizes['step']}"],
        ),
        ReportPart(
            "growth",
            55 * patience,
            "The step in bfloat16 at other sizes, batches, numbers of labels and of "
            "classes.",
            [f"{step} --amp bfloat16 --phase uncertain --repeats 3 {sizes['growth']}"],
        ),
        ReportPart(
            "memory",
            45 * patience,
            "Peak memory of a step with every loss, as `plan_memory.py` computes it.",
            [
                f"tools/gpu_report.py --compute-memory {config} {batch} "
                "FOLDER/figures.json"
            ],
        ),
        ReportPart(
            "parts",
            40 * patience,
            "Parts of a step, inference and DenseCRF by themselves, at VOC's sizes.",
            [
                f"tools/analysis/benchmark_parts.py {config} --amp bfloat16 {out} "
                f"{sizes['parts']}"
            ],
        ),
        ReportPart(
            "data",
            40 * patience,
            "Loading batches of 8: two views of 448 pixels of drawn scenes of 500.",
            [
                f"{draw} --train 16 --val 2 --size 500",
                f"tools/analysis/benchmark_data.py {SCENES} {out} --workers 1 "
                f"{workers} --cfg-options "
                "train_dataloader.dataset.data_root=FOLDER/scenes "
                f"train_dataloader.batch_size=8 {sizes['data']}",
            ],
        ),
        ReportPart(
            "train",
            110 * patience,
            "Training the [demo](results.md#the-demo) in mixed precision.",
            [
                f"{draw} {sizes['scenes']}",
                f"tools/train.py {SCENES} --amp --work-dir FOLDER/work --cfg-options "
                "train_dataloader.dataset.data_root=FOLDER/scenes "
                "val_dataloader.dataset.data_root=FOLDER/scenes "
                f"train_dataloader.num_workers={workers} {sizes['train']}",
            ],
            train_figures,
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


def check_outcomes(folder: Path) -> tuple[dict, list[str]]:
    """The outcome of each test, from pytest's summary."""
    log = (folder / "log.txt").read_text()
    summary = log.rpartition(" short test summary info ")[2].partition("\n")[2]
    return {}, [as_code(summary)]


def train_figures(folder: Path) -> tuple[dict, list[str]]:
    """Speed and scores of a training that came to its end."""
    (log,) = folder.glob("work/*/vis_data/scalars.json")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [record for record in records if "loss" in record]
    # The first steps include what is done once.
    late = steps[len(steps) // 2 :]
    figures = dict(
        steps=steps[-1]["step"],
        seconds=median(record["time"] for record in late),
        waiting=median(record["data_time"] for record in late),
        scores={name: records[-1][name] for name in SCORES},
    )
    row = [figures["steps"], f"{figures['seconds']:.3g}", f"{figures['waiting']:.3g}"]
    row += [f"{score:.2f}" for score in figures["scores"].values()]
    head = ["steps", "s a step", "s of it for data", *(f"`{x}`" for x in SCORES)]
    return figures, [markdown_table(head, [row])]


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
        default=[],
        choices=[part.name for part in report_parts(FULL)],
        help="run these alone, also if they are there (default: all that are not)",
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
    on_cpu = args.compute_memory or args.rehearse
    if not on_cpu and not torch.cuda.is_available():
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
    page = work_dir / "gpu.md" if args.rehearse else ROOT / "docs/gpu.md"
    parts = report_parts(SMALL if args.rehearse else FULL)
    found = {part.name: read_part(part, folder) for part in parts}
    results = {name: result for name, result in found.items() if result}

    for part in parts:
        if args.parts and part.name not in args.parts:
            continue
        there = results.get(part.name)
        if there and not there["error"] and not args.parts:
            print(f"{part.name}: there since {there['date']}", flush=True)
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
