import io
import logging
import warnings

import pytest
from mmengine.logging import MMLogger, print_log

from mmseg_fsr.engine.console_filter import shorten_console
from mmseg_fsr.utils.run_log import CONSOLE_ONLY, log_to_file
from tests.support.runs import own_globals

# What a module of MMEngine, of MMSegmentation or of a user does.
LOGS = "def say(text, logger, level):\n    logger.log(level, text)\n"
PRINTS = (
    "from mmengine.logging import print_log\n"
    "def say(text, logger, level):\n    print_log(text, 'current', level)\n"
)


def said_by(module, code):
    names = dict(__name__=module)
    exec(code, names)
    return names["say"]


@pytest.fixture
def logger(tmp_path):
    with own_globals():
        logger = MMLogger.get_instance("short", log_file=str(tmp_path / "run.log"))
        shorten_console(logger)
        logger.handlers[0].setStream(io.StringIO())
        yield logger


def places(logger, text):
    """Where a text was shown: whether on the console, whether in the file."""
    with open(logger.log_file) as file:
        return text in logger.handlers[0].stream.getvalue(), text in file.read()


@pytest.mark.parametrize("code", [LOGS, PRINTS], ids=["logger", "print_log"])
@pytest.mark.parametrize(
    ("module", "level", "on_console"),
    [
        ("mmengine.runner.runner", logging.INFO, False),
        ("mmseg.evaluation.metrics.iou_metric", logging.INFO, False),
        ("mmpretrain", logging.INFO, False),
        ("mmengine.hooks.checkpoint_hook", logging.INFO, True),
        ("mmengine.runner.runner", logging.WARNING, True),
        ("mmseg.models", logging.ERROR, True),
        ("mmseg_fsr.datasets.image_label_dataset", logging.INFO, True),
        ("mmsegmentation_of_my_own", logging.INFO, True),
        ("__main__", logging.INFO, True),
    ],
)
def test_the_file_has_all_and_the_console_what_a_user_needs(
    logger, module, level, on_console, code
):
    said_by(module, code)("a message", logger, level)
    assert places(logger, "a message") == (on_console, True)


def test_warnings_of_mmengine_about_its_own_code_are_in_the_file_alone(logger):
    text = "The prefix is not set in metric class IoUMetric."
    print_log(text, "current", logging.WARNING)
    assert places(logger, text) == (False, True)


def test_warnings_without_a_remedy_are_dropped(logger):
    # As mmseg and torch give them.
    for words in (
        "The draw is False, it means that",
        "'pin_memory' argument is set as",
    ):
        with warnings.catch_warnings(record=True) as shown:
            warnings.warn(words + " true but no accelerator is found", stacklevel=1)
        assert not shown


def test_a_message_may_be_for_one_of_the_two(logger):
    logger.info("12 of 40", extra=CONSOLE_ONLY)
    assert places(logger, "12 of 40") == (True, False)
    log_to_file("a title of a table")
    assert places(logger, "a title of a table") == (False, True)


def test_lines_of_the_console_begin_with_the_time_alone(logger):
    print_log("12 of 40", "current")
    print_log("beware", "current", logging.WARNING)
    line, warning = logger.handlers[0].stream.getvalue().splitlines()
    assert line.split("  ")[1] == "12 of 40"
    assert "WARNING" in warning


def test_other_loggers_of_the_process_stay_as_they_are(logger):
    other = MMLogger.get_instance("other")
    other.handlers[0].setStream(io.StringIO())
    said_by("mmengine.runner.runner", LOGS)("a message", other, logging.INFO)
    assert "mmengine - " in other.handlers[0].stream.getvalue()
