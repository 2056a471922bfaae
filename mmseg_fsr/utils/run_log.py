"""Messages for one place of a run's log: its file, or the console."""

from mmengine.logging import MMLogger

# `extra` of a message that the log file lacks: it has the same in mmengine's words.
CONSOLE_ONLY = dict(console_only=True)
_FILE_ONLY = dict(file_only=True)


def log_to_file(message: str) -> None:
    """Logs details that a short console leaves out.

    A run without :class:`~mmseg_fsr.engine.ShortConsoleRunner` shows them, too.
    """
    MMLogger.get_current_instance().info(message, extra=_FILE_ONLY)
