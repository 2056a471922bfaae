"""Hook that tells on the console what runs, how far it is, and what it scores."""

import math
import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import torch
from mmengine.device import is_cuda_available
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from mmseg_fsr.engine.class_iou import NotedClassIoU
from mmseg_fsr.engine.console_text import (
    aligned,
    class_table,
    describe_data,
    describe_device,
    describe_model,
    describe_schedule,
    score_table,
)
from mmseg_fsr.engine.runner_access import (
    loaded_checkpoint,
    logging_interval,
    unwrapped_model,
)
from mmseg_fsr.utils.run_log import CONSOLE_ONLY
from mmseg_fsr.utils.score_names import TEACHER_SCORES

from .pseudo_label_share_hook import BACKGROUND_SHARE, OBJECT_SHARE

# The most lines of progress in a validation or test.
_SCORED_LINES = 20


@HOOKS.register_module()
class ConsoleHook(Hook):
    """Logs a few lines of what runs, a line an interval, and a table of the scores.

    :class:`~mmseg_fsr.engine.short_console_runner.ShortConsoleRunner` adds it. Progress
    and scores are for the console alone: the log file has those of mmengine's
    ``LoggerHook``, at whose interval progress is told, and mmseg's tables. Validation
    and test tell theirs in 20 lines at most.
    """

    # After the hooks whose values and scores it shows, and before mmengine's
    # LoggerHook, which begins to measure the peak of the memory anew.
    priority = 55

    def __init__(self) -> None:
        self._class_iou = NotedClassIoU()

    def before_train(self, runner: Runner) -> None:
        """Logs data, model, schedule, device and files."""
        rows = [("Training data", describe_data(runner.train_loop.dataloader.dataset))]
        if runner.val_loop is not None:
            validated = describe_data(runner.val_loop.dataloader.dataset)
            rows.append(("Validation data", validated))
        rows += [
            ("Model", describe_model(unwrapped_model(runner))),
            ("Schedule", describe_schedule(runner)),
        ]
        self._tell_run(runner, "Training", rows)

    def before_test(self, runner: Runner) -> None:
        """Logs data, model, checkpoint, device and files."""
        rows = [
            ("Data", describe_data(runner.test_loop.dataloader.dataset)),
            ("Model", describe_model(unwrapped_model(runner))),
        ]
        # The export of labels loads its own.
        if checkpoint := loaded_checkpoint(runner):
            rows.append(("Checkpoint", checkpoint))
        self._tell_run(runner, "Test", rows)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Logs a line of progress, also of the last step."""
        step, scalars = runner.iter + 1, runner.message_hub.log_scalars
        is_due = self.every_n_inner_iters(batch_idx, logging_interval(runner))
        if not is_due and step != runner.max_iters:
            return
        values = []
        if loss := scalars.get("train/loss"):
            values.append(f"loss {loss.mean(runner.log_processor.window_size):.4f}")
        if objects := scalars.get(f"train/{OBJECT_SHARE}"):
            background = scalars[f"train/{BACKGROUND_SHARE}"]
            values.append(
                f"pseudo labels: objects {objects.current():.0%}, "
                f"background {background.current():.0%}"
            )
        if is_cuda_available():
            values.append(f"{torch.cuda.max_memory_allocated() >> 20:,} MB")
        self._tell_progress(runner, "step", step, runner.max_iters, values)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Logs a line of progress."""
        self._after_scored(runner, "validation", batch_idx, runner.val_loop)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Logs a line of progress."""
        self._after_scored(runner, "test", batch_idx, runner.test_loop)

    def before_val_epoch(self, runner: Runner) -> None:
        """Begins to note the IoU of classes; TeacherScoringHook has copied metrics."""
        self._class_iou.begin(runner.val_loop.evaluator.metrics)

    def before_test_epoch(self, runner: Runner) -> None:
        """Begins to note the IoU of classes; TeacherScoringHook has copied metrics."""
        self._class_iou.begin(runner.test_loop.evaluator.metrics)

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Logs the scores."""
        self._tell_scores(runner, runner.val_loop, f"at step {runner.iter:,}", metrics)

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Logs the scores."""
        self._tell_scores(runner, runner.test_loop, "of the test", metrics)

    def after_train(self, runner: Runner) -> None:
        """Says how to look at the results, and how to use them."""
        folder = Path(runner.work_dir)
        report = f"python tools/report.py {shlex.quote(str(folder))}"
        text = f"Trained. To look at the run: {report}"
        last = folder / "last_checkpoint"
        if last.exists() and runner.cfg.filename:
            # The runner has written it, with the options of the command line.
            config = shlex.quote(str(folder / Path(runner.cfg.filename).name))
            text += (
                f"\nTo use it: python tools/predict.py {config} "
                f"{shlex.quote(last.read_text())} IMAGES --out FOLDER"
            )
        runner.logger.info(text)

    def _tell_run(
        self, runner: Runner, title: str, rows: Sequence[tuple[str, str]]
    ) -> None:
        rows = [
            *rows,
            ("Device", describe_device()),
            ("Results", runner.work_dir),
            ("Log file", str(runner.logger.log_file)),
        ]
        runner.logger.info(f"{title}\n{aligned(rows)}")

    def _after_scored(
        self, runner: Runner, title: str, batch_idx: int, loop: BaseLoop
    ) -> None:
        done, total = batch_idx + 1, len(loop.dataloader)
        # A short training's interval would tell every few images.
        interval = max(logging_interval(runner), math.ceil(total / _SCORED_LINES))
        if done % interval == 0 or done == total:
            self._tell_progress(runner, title, done, total, [])

    def _tell_progress(
        self, runner: Runner, title: str, done: int, total: int, values: Sequence[str]
    ) -> None:
        """Logs a line to the console alone."""
        eta = runner.message_hub.runtime_info.get("eta")
        if eta is not None and done < total:
            values = [*values, f"ETA {timedelta(seconds=int(eta))}"]
        place = f"{title} {done:>{len(str(total))}}/{total}"
        runner.logger.info("  ".join([place, *values]), extra=CONSOLE_ONLY)

    def _tell_scores(
        self,
        runner: Runner,
        loop: BaseLoop,
        when: str,
        metrics: Mapping[str, float] | None,
    ) -> None:
        """Logs two tables to the console alone."""
        self._class_iou.end(loop.evaluator.metrics)
        if not metrics:
            return
        text = f"Scores {when}, in percent\n{score_table(metrics)}"
        if self._class_iou.by_title:
            owner = ""
            if any(name.startswith(TEACHER_SCORES) for name in metrics):
                # The metrics of a student beside it are those of the loop.
                alone = all(name.startswith(TEACHER_SCORES) for name in metrics)
                owner = " of the teacher" if alone else " of the student"
            classes = loop.evaluator.dataset_meta["classes"]
            table = class_table(self._class_iou.by_title, classes)
            text += f"\nIoU{owner} by class, in percent\n{table}"
        runner.logger.info(text, extra=CONSOLE_ONLY)
