"""Hook that scores teachers in validation and testing."""

import copy
from collections.abc import Sequence

from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner, TestLoop, ValLoop
from mmengine.runner.amp import autocast
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_fsr.checkpoints.names import TEACHER_PREFIX
from mmseg_fsr.engine.runner_access import (
    is_training_run,
    undistributed_model,
    unwrapped_model,
)


@HOOKS.register_module()
class TeacherScoringHook(Hook):
    """Says which network validation and testing score, student, teacher or both.

    The teacher's metrics carry the prefix ``teacher/``; written label maps are the
    student's where both are scored. A model whose segmentor has no teacher is scored as
    ever.

    Args:
        validate: "student", "teacher" or "both". Defaults to "both".

    Raises:
        ValueError: If ``validate`` is unknown.
    """

    # Before the hooks that log the metrics and keep the best checkpoint.
    priority = "HIGHEST"

    def __init__(self, validate: str = "both") -> None:
        if validate not in ("student", "teacher", "both"):
            raise ValueError(
                f"validate={validate!r}: expected 'student', 'teacher' or 'both'"
            )
        self.validate = validate
        self._teacher_evaluator: Evaluator | None = None

    def before_run(self, runner: Runner) -> None:
        """Looks for a teacher, and for a hook that waits for the student's scores.

        Raises:
            ValueError: If the teacher alone is to be scored and there is none, or the
                best checkpoint is to be chosen by a score of the student.
        """
        model = unwrapped_model(runner)
        if getattr(model, "teacher", None) is None:
            if self.validate == "teacher":
                raise ValueError(
                    f"TeacherScoringHook has validate='teacher', but the model "
                    f"{type(model).__name__} has no teacher that segments: set "
                    "validate='student'"
                )
            self.validate = "student"
        if self.validate == "teacher":
            _require_teacher_scores(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Scores no teacher whose weights the tested checkpoint does not hold.

        Raises:
            ValueError: If the teacher alone was to be scored.
        """
        names = checkpoint.get("state_dict", checkpoint)
        if (
            self.validate == "student"
            or is_training_run(runner)
            or any(name.startswith(TEACHER_PREFIX) for name in names)
        ):
            return
        if self.validate == "teacher":
            raise ValueError(
                "TeacherScoringHook has validate='teacher', but the checkpoint holds "
                "no teacher: set validate='student' or test a checkpoint of training"
            )
        runner.logger.info("The checkpoint holds no teacher: the student is scored.")
        self.validate = "student"

    def before_val_epoch(self, runner: Runner) -> None:
        """Puts the teacher in place, or beside the student."""
        self._begin(runner, runner.val_loop)

    def before_test_epoch(self, runner: Runner) -> None:
        """Puts the teacher in place, or beside the student."""
        self._begin(runner, runner.test_loop)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Scores the teacher on the batch."""
        self._score(runner, runner.val_loop, data_batch)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Scores the teacher on the batch."""
        self._score(runner, runner.test_loop, data_batch)

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Adds the teacher's metrics."""
        self._end(runner, runner.val_loop, metrics)

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Adds the teacher's metrics."""
        self._end(runner, runner.test_loop, metrics)

    def _begin(self, runner: Runner, loop: ValLoop | TestLoop) -> None:
        self._teacher_evaluator = None
        if self.validate == "teacher":
            self._student = runner.model
            runner.model = _scored_teacher(runner)
        elif self.validate == "both":
            evaluator = copy.deepcopy(loop.evaluator)
            evaluator.metrics = [
                metric
                for metric in evaluator.metrics
                if not getattr(metric, "format_only", False)
            ]
            for metric in evaluator.metrics:
                metric.output_dir = None
            if evaluator.metrics:
                self._teacher_evaluator = evaluator

    def _score(
        self, runner: Runner, loop: ValLoop | TestLoop, data_batch: dict
    ) -> None:
        if self._teacher_evaluator is None:
            return
        # The loop has left its own autocast, in which the student was scored.
        with autocast(enabled=loop.fp16):
            samples = _scored_teacher(runner).test_step(data_batch)
        self._teacher_evaluator.process(samples, data_batch)

    def _end(
        self, runner: Runner, loop: ValLoop | TestLoop, metrics: dict[str, float]
    ) -> None:
        """Puts the teacher's metrics into ``metrics``, which later hooks read."""
        if self.validate == "teacher":
            runner.model = self._student
            teacher_metrics = dict(metrics)
            metrics.clear()
        elif self._teacher_evaluator is not None:
            print_log("Scores of the teacher:", logger="current")
            size = len(loop.dataloader.dataset)
            teacher_metrics = self._teacher_evaluator.evaluate(size)
        else:
            return
        metrics.update({f"teacher/{k}": v for k, v in teacher_metrics.items()})


def _require_teacher_scores(runner: Runner) -> None:
    """Refuses a hook that would look for scores of the student, thousands of steps on.

    Raises:
        ValueError: Naming the key and what to set.
    """
    for hook in runner.hooks:
        for name in getattr(hook, "key_indicators", ()):
            if name != "auto" and not name.startswith("teacher/"):
                raise ValueError(
                    f"save_best={name!r} of {type(hook).__name__}: TeacherScoringHook "
                    "with validate='teacher' gives scores of the teacher alone; set "
                    f"default_hooks.checkpoint.save_best='teacher/{name}'"
                )


def _scored_teacher(runner: Runner) -> nn.Module:
    """The teacher, under test-time augmentation where the runner's model is."""
    teacher = unwrapped_model(runner).teacher
    model = undistributed_model(runner)
    return type(model)(module=teacher) if isinstance(model, BaseTTAModel) else teacher
