"""A module with a teacher of its own."""

import copy

from torch import nn


class TeacherMixin:
    """Gives a module a ``teacher``, a copy of itself without gradient.

    List it before ``nn.Module``'s classes among the bases. The class calls
    :meth:`add_teacher` once it has all its parts.
    :class:`~mmseg_fsr.engine.hooks.EMATeacherHook` sets the teacher's weights before
    training and averages them in training.

    Attributes:
        teacher: The copy, whose own ``teacher`` is None; None without one.
        teacher_unset: Whether the module got initial weights that its teacher does not
            have yet. Training then refuses to begin.
    """

    def add_teacher(self, teacher: dict | None) -> None:
        """Copies the module.

        Args:
            teacher: ``dict(train_mode=...)`` says whether the teacher is in training
                mode, its drop path active, while the module is. None adds none.

        Raises:
            ValueError: If it is another dict.
        """
        self.teacher: nn.Module | None = None
        self.teacher_unset = False
        if teacher is None:
            return
        if teacher.keys() != {"train_mode"}:
            raise ValueError(
                f"teacher={dict(teacher)}: expected dict(train_mode=True) or "
                "dict(train_mode=False)"
            )
        self.teacher_train_mode = teacher["train_mode"]
        self.teacher = copy.deepcopy(self).requires_grad_(False)
        # Keeps mmengine from initialising it: the hook copies the student's weights.
        self.teacher._is_init = True

    def init_weights(self) -> None:
        """Gives the module initial weights, and its teacher none."""
        super().init_weights()
        self.teacher_unset = self.teacher is not None

    def train(self, mode: bool = True) -> "TeacherMixin":
        """Sets the mode; the teacher's is a setting of its own.

        Raises:
            RuntimeError: If training would begin with a teacher that nothing has set.
        """
        if mode and self.teacher_unset:
            raise RuntimeError(
                f"{type(self).__name__} has a teacher that no hook sets and averages: "
                "add dict(type='EMATeacherHook') to custom_hooks (a custom_hooks of "
                "your own replaces the whole list of _base_)"
            )
        super().train(mode)
        if self.teacher is not None:
            self.teacher.train(mode and self.teacher_train_mode)
        return self
