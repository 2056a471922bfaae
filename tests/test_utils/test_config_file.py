import pytest
from mmengine.config import Config

from mmseg_fsr.utils.config_file import load_config, require_keys


def test_missing_keys_are_named(tmp_path):
    file = tmp_path / "a.py"
    file.write_text("crf = dict(type='DenseCRF')\ntta_model = None\n")
    cfg = Config.fromfile(file)
    require_keys(cfg, "--crf", "crf")
    with pytest.raises(
        ValueError,
        match=r"^--tta needs tta_model, tta_pipeline in the config .*a\.py$",
    ):
        require_keys(cfg, "--tta", "crf", "tta_model", "tta_pipeline")


def test_a_config_is_read_with_its_base(tmp_path):
    (tmp_path / "base.py").write_text("a = 1\n")
    (tmp_path / "own.py").write_text("_base_ = ['base.py']\nb = 2\n")
    assert load_config(tmp_path / "own.py").to_dict() == dict(a=1, b=2)


@pytest.mark.parametrize(
    ("broken", "where"), [("own", r"config .*own\.py"), ("base", "a file of .*_base_")]
)
def test_a_file_that_is_no_python_is_named_with_its_line(tmp_path, broken, where):
    (tmp_path / "base.py").write_text("a = 1\n")
    (tmp_path / "own.py").write_text("_base_ = ['base.py']\nb = 2\n")
    with open(tmp_path / f"{broken}.py", "a") as file:
        file.write("\nmodel = dict(heads=dict(num=5)\n")
    line = {"own": 4, "base": 3}[broken]
    with pytest.raises(ValueError, match=f"^{where}, line {line}: .* was never closed"):
        load_config(tmp_path / "own.py")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("a = dict(b=1)['c']", "KeyError: 'c'"),
        ("a = b", "NameError: name 'b'"),
        ("a = int('x')", "invalid literal for int"),
        ("_base_ = ['gone.py']", "No such file .*gone"),
        ("_base_ = ['one.py', 'two.py']", "Duplicate key"),
    ],
)
def test_a_program_that_fails_is_named(tmp_path, code, words):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("a = 1\n")
    (tmp_path / "own.py").write_text(f"{code}\n")
    with pytest.raises(ValueError, match=rf"own\.py cannot be read: .*{words}"):
        load_config(tmp_path / "own.py")


def test_a_config_that_is_missing_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_config(tmp_path / "own.py")
