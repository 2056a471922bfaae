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
