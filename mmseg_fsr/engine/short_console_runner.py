"""Runner whose console shows what a user needs."""

from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmseg.registry import RUNNERS

from mmseg_fsr.engine.console_filter import shorten_console
from mmseg_fsr.engine.hooks import ConsoleHook


@RUNNERS.register_module()
class ShortConsoleRunner(Runner):
    """mmengine's runner with a short console; its log file has everything.

    ``runner_type='ShortConsoleRunner'`` of a config selects it, for MMSegmentation's
    own ``train.py`` and ``test.py`` too. :func:`shorten_console` says what the console
    leaves out, and :class:`~mmseg_fsr.engine.hooks.ConsoleHook` what it gets instead.
    ``runner_type='Runner'`` shows everything.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Builds the logger, before the runner logs environment and config."""
        logger = super().build_logger(*args, **kwargs)
        shorten_console(logger)
        return logger

    def register_hooks(self, *args: Any, **kwargs: Any) -> None:
        """Registers the config's hooks, and the one that writes to the console."""
        super().register_hooks(*args, **kwargs)
        self.register_hook(ConsoleHook())
