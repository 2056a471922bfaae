"""Hooks for mmengine's runner."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .cam_visualization_hook import CAMVisualizationHook
from .checkpoint_guard_hook import CheckpointGuardHook
from .console_hook import ConsoleHook
from .distillation_health_hook import DistillationHealthHook
from .ema_teacher_hook import EMATeacherHook
from .finite_loss_hook import FiniteLossHook
from .num_class_check_hook import NumClassCheckHook
from .pseudo_label_share_hook import PseudoLabelShareHook
from .scaled_visualization_hook import ScaledVisualizationHook
from .settings_check_hook import SettingsCheckHook
from .step_seed_hook import StepSeedHook
from .stop_signal_hook import StopSignalHook
from .supervision_hook import SupervisionHook
from .teacher_scoring_hook import TeacherScoringHook

__all__ = [
    "AtomicCheckpointHook",
    "CAMVisualizationHook",
    "CheckpointGuardHook",
    "ConsoleHook",
    "DistillationHealthHook",
    "EMATeacherHook",
    "FiniteLossHook",
    "NumClassCheckHook",
    "PseudoLabelShareHook",
    "ScaledVisualizationHook",
    "SettingsCheckHook",
    "StepSeedHook",
    "StopSignalHook",
    "SupervisionHook",
    "TeacherScoringHook",
]
