"""Hook that scores teachers in validation and testing."""

import copy
from collections.abc import Sequence

from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
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
from mmseg_fsr.utils.run_log import log_to_file
from mmseg_fsr.utils.score_names import TEACHER_SCORES


@HOOKS.register_module()
class TeacherScoringHook(Hook):
    """Chooses what validation and testing score: the student, the teacher or both.

    The teacher's metrics carry the prefix ``teacher/``. With "both", written label maps
    and pictures are the student's. If the model or the tested checkpoint has no
    teacher, "both" scores the student alone.

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
        """Checks whether the model has a teacher.

        Raises:
            ValueError: If there is none, and it alone should be scored.
        """
        model = unwrapped_model(runner)
        if getattr(model, "teacher", None) is not None:
            return
        if self.validate == "teacher":
            raise ValueError(
                f"TeacherScoringHook has validate='teacher', but the model "
                f"{type(model).__name__} has no teacher that segments: set "
                "validate='student'"
            )
        self.validate = "student"

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Checks whether a tested checkpoint holds the weights of a teacher.

        Raises:
            ValueError: If it holds none, and the teacher alone should be scored.
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

    def before_train(self, runner: Runner) -> None:
        """Checks that the score that chooses the best checkpoint will be there.

        Raises:
            ValueError: If it is the student's, and the teacher alone is scored.
        """
        if self.validate != "teacher":
            return
        for hook in runner.hooks:
            for name in getattr(hook, "key_indicators", ()):
                if name != "auto" and not name.startswith(TEACHER_SCORES):
                    raise ValueError(
                        f"save_best={name!r} of {type(hook).__name__}: with "
                        "validate='teacher' TeacherScoringHook gives the teacher's "
                        "scores alone; set "
                        f"default_hooks.checkpoint.save_best='{TEACHER_SCORES}{name}'"
                    )

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Adds the teacher's metrics to the student's, or renames them."""
        self._end(runner, runner.val_loop, metrics)

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Adds the teacher's metrics to the student's, or renames them."""
        self._end(runner, runner.test_loop, metrics)

    def _before_epoch(self, runner: Runner, mode: str = "train") -> None:
        """Puts the teacher in the student's place, or gives it its own evaluator."""
        if mode == "train":
            return
        self._teacher_evaluator = None
        if self.validate == "teacher":
            self._student = runner.model
            runner.model = _scored_teacher(runner)
        elif self.validate == "both":
            self._teacher_evaluator = _copy_that_writes_nothing(
                _loop(runner, mode).evaluator
            )

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
        mode: str = "train",
    ) -> None:
        """Scores the teacher on the batch that the student was scored on."""
        if mode == "train" or self._teacher_evaluator is None:
            return
        # The loop has left the autocast in which it scored the student.
        with autocast(enabled=_loop(runner, mode).fp16):
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
            log_to_file("Scores of the teacher:")
            size = len(loop.dataloader.dataset)
            teacher_metrics = self._teacher_evaluator.evaluate(size)
        else:
            return
        metrics.update({f"{TEACHER_SCORES}{k}": v for k, v in teacher_metrics.items()})


def _loop(runner: Runner, mode: str) -> ValLoop | TestLoop:
    return runner.val_loop if mode == "val" else runner.test_loop


def _copy_that_writes_nothing(evaluator: Evaluator) -> Evaluator | None:
    """None if all that the evaluator does is to write label maps."""
    evaluator = copy.deepcopy(evaluator)
    evaluator.metrics = [
        metric
        for metric in evaluator.metrics
        if not getattr(metric, "format_only", False)
    ]
    for metric in evaluator.metrics:
        metric.output_dir = None
    return evaluator if evaluator.metrics else None


def _scored_teacher(runner: Runner) -> nn.Module:
    """The teacher, with test-time augmentation if the runner's model has it."""
    teacher = unwrapped_model(runner).teacher
    model = undistributed_model(runner)
    return type(model)(module=teacher) if isinstance(model, BaseTTAModel) else teacher
