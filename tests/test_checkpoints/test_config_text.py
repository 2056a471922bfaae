import math

import pytest
from mmengine.config import Config
from torch import nn

from mmseg_fsr.checkpoints.config_text import read_config_text
from tests.support.project_files import CONFIGS


@pytest.mark.parametrize("name", ["fsr_r101_voc", "fsr_clip-b_voc", "fsr_swin_scenes"])
def test_it_is_what_mmengine_reads_by_running_it(name):
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    keys = ("model", "data_preprocessor", "train_dataloader")
    expected = {key: value for key, value in cfg.to_dict().items() if key in keys}
    assert read_config_text(cfg.pretty_text, keys) == expected


def test_values_of_all_kinds():
    cfg = Config(
        dict(
            a=dict(type="ReLU", inplace=True),
            b=[(1.0,), -2, None, dict(x=[])],
            c={"not-a-name": dict(y=1), "z": "text"},
            d=math.inf,
            e=1,
        )
    )
    found = read_config_text(cfg.pretty_text, "abcd")
    assert found == dict(
        a=dict(type="ReLU", inplace=True),
        b=[(1.0,), -2, None, dict(x=[])],
        c={"not-a-name": dict(y=1), "z": "text"},
        d=math.inf,
    )


def test_classes_are_their_names():
    text = Config(dict(a=dict(type=nn.ReLU))).pretty_text
    if "<class" in text:
        pytest.skip("this MMEngine writes what is no Python")
    name = "torch.nn.modules.activation.ReLU"
    assert read_config_text(text, "a") == dict(a=dict(type=name))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("__import__('os').mkdir({made!r})", "line 2: expected a value, got .* Call"),
        ("dict(x=[open({made!r}, 'w')])", "got a Python Call"),
        ("dict([('a', 1)])", "expected dict"),
        ("dict({{}}, {{}})", "TypeError"),
        ("dict(**dict(a=1))", "expected dict"),
        ("{{**dict(a=1)}}", "line 2|malformed"),
        ("[x for x in 'ab']", "ListComp"),
        ("f'{{1}}'", "JoinedStr"),
        ("{{(): 1, []: 2}}", "malformed|unhashable|TypeError|expected"),
        ("dict(", "SyntaxError"),
        ("1" * 5000, "SyntaxError"),
        ("(" * 5000, "SyntaxError|MemoryError"),
        ("-" * 90_000 + "1", "MemoryError|RecursionError"),
        ("a" + ".b" * 300_000, "RecursionError"),
        ("9" * 1_000_001, "1000010 characters"),
    ],
)
def test_what_is_no_data_is_refused_and_never_run(tmp_path, value, message):
    made = str(tmp_path / "made")
    value = value.format(made=made) if len(value) < 100 else value
    with pytest.raises(ValueError, match=message):
        read_config_text(f"\nmodel = {value}", ["model"])
    assert not (tmp_path / "made").exists()


def test_other_settings_and_statements_are_passed_over(tmp_path):
    made = tmp_path / "made"
    text = f"import os\nos.mkdir({str(made)!r})\nx = os.getcwd()\na.b = 3\nmodel = 1"
    assert read_config_text(text, ["model"]) == dict(model=1)
    assert not made.exists()
