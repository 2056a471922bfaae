from pathlib import Path

import pytest

from tests.support.voc_folder import write_voc


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """Three pictures with masks and labels, laid out like PASCAL VOC."""
    return write_voc(tmp_path / "voc")
