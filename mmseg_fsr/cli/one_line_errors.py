"""Errors of what a user gave: a sentence on the console, the traceback in the log."""

import contextlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator

from mmengine.logging import MMLogger

from mmseg_fsr.datasets.bad_images import TooManyBadImagesError

from .config_errors import config_sentence

# Set to anything, it shows tracebacks on the console.
SHOW_TRACEBACK = "MMSEG_FSR_TRACEBACK"

# Wrong or missing files, wrong settings, losses that are no numbers. Any other error is
# a bug, ours or another's, and keeps its traceback.
_OF_INPUT = (ValueError, OSError, FloatingPointError, TooManyBadImagesError)
# How a DataLoader passes on what its worker raised.
_FROM_WORKER = re.compile(r"Caught \w+ in DataLoader worker process \d+\.\n")
_TRACEBACK = "Traceback (most recent call last):\n"


@contextlib.contextmanager
def one_line_errors(*others: type[Exception], begin: str = "") -> Iterator[None]:
    """Ends the program with ``error:`` and one sentence if the input is wrong.

    The log file of the run, if there is one, gets the traceback, and standard error its
    name. With ``MMSEG_FSR_TRACEBACK=1`` in the environment the console has the
    traceback instead. The exit code is 1.

    Args:
        *others: Errors that are about the input beside ``ValueError``, ``OSError``, a
            run's own, of broken losses and too many bad images, and those of
            :func:`~mmseg_fsr.cli.config_errors.config_sentence`.
        begin: What comes before, such as a new line after a progress bar. Defaults to
            nothing.

    Raises:
        SystemExit: If such an error was raised inside.

    Example:
        >>> @one_line_errors()
        ... def main() -> None:
        ...     raise ValueError("label file labels.json is empty: write it again")
    """
    try:
        yield
    except Exception as error:
        sentence = input_sentence(error, *others)
        if sentence is None or os.environ.get(SHOW_TRACEBACK):
            raise
        print(begin, end="", file=sys.stderr)
        for file in _log_traceback(error):
            print(f"traceback: {file}", file=sys.stderr)
        sys.exit(f"error: {sentence}")


def input_sentence(error: Exception, *others: type[Exception]) -> str | None:
    """What an error of the input, or one of the others, says; None if it is a bug."""
    if isinstance(error, (*_OF_INPUT, *others)):
        return error_sentence(error)
    return config_sentence(error)


def error_sentence(error: BaseException) -> str:
    """What an error says, without the traceback that a DataLoader's worker adds.

    Example:
        >>> error_sentence(ValueError("mask a.png has 3 channels"))
        'mask a.png has 3 channels'
    """
    text = str(error)
    if not _FROM_WORKER.match(text):
        return text or type(error).__name__
    # Of an error's causes the last is the error itself. Its frames are indented.
    lines = text.rpartition(_TRACEBACK)[2].splitlines()
    first = next((i for i, line in enumerate(lines) if line[:1] != " "), 0)
    kind, _, sentence = "\n".join(lines[first:]).partition(": ")
    return sentence or kind


def _log_traceback(error: BaseException) -> list[str]:
    """Writes to the log file of this process's run, and names it if there is one."""
    logger = MMLogger.get_current_instance()
    text = "".join(traceback.format_exception(error))
    record = logger.makeRecord(logger.name, logging.ERROR, "", 0, text, (), None)
    files = [x for x in logger.handlers if isinstance(x, logging.FileHandler)]
    # Past the logger, whose other handlers write to the console.
    for handler in files:
        handler.handle(record)
    return [handler.baseFilename for handler in files]
