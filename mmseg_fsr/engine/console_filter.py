"""What of a run's log the console shows."""

import logging
import sys
import warnings

# Their messages at INFO go to the log file alone.
_FILE_ONLY = ("mmengine", "mmcv", "mmseg", "mmdet", "mmpretrain")
# Of these, what says where a checkpoint went.
_SHOWN = "mmengine.hooks.checkpoint_hook"
# Warnings of MMEngine about code of its own, of which no config is the cause.
_OF_ITS_OWN_CODE = (
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    "The prefix is not set in metric class",
)
# What stands between the code that has something to say and a handler.
_LOGGING = ("logging", "mmengine.logging", __name__)


def shorten_console(logger: logging.Logger) -> None:
    """Makes the console of a run show what a user needs; the log file has everything.

    Messages of MMEngine and MMSegmentation at INFO, such as config, environment and
    tables, go to the file alone, but for the names of saved checkpoints. All other
    code's messages, and all warnings and errors, are shown on the console, but for
    warnings of MMEngine about its own code. Python's warnings that there is no GPU for
    pinned memory, and that MMSegmentation's hook draws nothing, are dropped.
    :mod:`mmseg_fsr.utils.run_log` names one of the two for a message.

    Args:
        logger: The run's logger, an ``MMLogger`` with a handler of the console and
            usually one of a file.
    """
    for words in ("'pin_memory' argument is set as true but", "The draw is False"):
        warnings.filterwarnings("ignore", words)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.addFilter(_is_for_file)
        else:
            handler.addFilter(_is_for_console)
            # Of MMFormatter. Warnings keep their level and the name of the logger.
            handler.formatter.info_format = "%(asctime)s  %(message)s"


def _is_for_file(record: logging.LogRecord) -> bool:
    return not getattr(record, "console_only", False)


def _is_for_console(record: logging.LogRecord) -> bool:
    if record.levelno > logging.INFO:
        return not record.getMessage().startswith(_OF_ITS_OWN_CODE)
    if getattr(record, "file_only", False):
        return False
    origin = _origin()
    return origin == _SHOWN or origin.partition(".")[0] not in _FILE_ONLY


def _origin() -> str:
    """Name of the module that logs; a record has that of ``print_log`` instead."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not any(name == own or name.startswith(f"{own}.") for own in _LOGGING):
            return name
        frame = frame.f_back
    return ""
