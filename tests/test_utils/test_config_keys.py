import pytest
from mmengine.config import Config

from mmseg_fsr.utils.config_keys import require_keys


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
