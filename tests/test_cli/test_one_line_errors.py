import io
from pathlib import Path

import pytest
from mmengine.logging import MMLogger
from mmseg.registry import MODELS
from torch.utils.data import DataLoader

import mmseg_fsr.models  # noqa: F401  (registers)
from mmseg_fsr.cli.one_line_errors import (
    SHOW_TRACEBACK,
    error_sentence,
    one_line_errors,
)
from mmseg_fsr.datasets.bad_images import TooManyBadImagesError
from tests.support.runs import own_globals

SENTENCE = "mask a.png has class ids [9]: expected 0 to 5\n  and 255: correct it"


@pytest.fixture
def logger(tmp_path):
    with own_globals():
        logger = MMLogger.get_instance("run", log_file=str(tmp_path / "run.log"))
        logger.handlers[0].setStream(io.StringIO())
        yield logger


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SENTENCE),
        FileNotFoundError(SENTENCE),
        FloatingPointError(SENTENCE),
        TooManyBadImagesError(SENTENCE),
    ],
)
def test_the_console_has_the_sentence_and_the_log_the_traceback(error, logger, capsys):
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise error
    # Python prints it to standard error and ends with 1.
    assert ended.value.code == f"error: {SENTENCE}"
    assert capsys.readouterr().err == f"traceback: {logger.log_file}\n"
    assert logger.handlers[0].stream.getvalue() == ""
    text = Path(logger.log_file).read_text()
    assert "Traceback (most recent call last)" in text
    assert f"{Path(__file__).name}" in text
    assert SENTENCE in text


def test_a_setting_that_a_component_lacks_is_one_sentence_too(logger, monkeypatch):
    head = dict(type="PTCHead", loss_wieght=1)
    with pytest.raises(SystemExit, match="'loss_weight'"), one_line_errors():
        MODELS.build(head)
    monkeypatch.setenv(SHOW_TRACEBACK, "1")
    with pytest.raises(TypeError), one_line_errors():
        MODELS.build(head)


@pytest.mark.parametrize("kind", [TypeError, RuntimeError, KeyError, AssertionError])
def test_a_bug_keeps_its_traceback(kind, logger):
    with pytest.raises(kind), one_line_errors():
        raise kind("size of tensor a must match tensor b")


def test_without_a_run_there_is_no_log(capsys):
    ends = pytest.raises(SystemExit, match=r"^error: no onnx$")
    with own_globals(), ends, one_line_errors(ImportError, begin="\n"):
        raise ImportError("no onnx")
    assert capsys.readouterr().err == "\n"


def test_the_environment_asks_for_the_traceback(monkeypatch):
    monkeypatch.setenv(SHOW_TRACEBACK, "1")
    with pytest.raises(ValueError, match=r"a\.png"), one_line_errors():
        raise ValueError(SENTENCE)


class Bad:
    """Data whose item cannot be read, because of another error."""

    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return 1

    def __getitem__(self, index):
        try:
            raise OSError("Traceback of a cause: none")
        except OSError as error:
            raise self.kind(SENTENCE) from error


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, TooManyBadImagesError])
def test_a_worker_says_the_same_sentence(kind):
    with pytest.raises(kind) as caught:
        next(iter(DataLoader(Bad(kind), num_workers=1)))
    assert str(caught.value) != SENTENCE
    assert error_sentence(caught.value) == SENTENCE


def test_an_error_that_says_nothing_is_named():
    assert error_sentence(ValueError()) == "ValueError"
