import numpy as np
import pytest

from mmseg_fsr.datasets.mask_file import read_mask, write_mask
from mmseg_fsr.utils.label_ids import check_id_settings, check_num_foreground


def test_as_many_classes_as_ids_tell_apart(tmp_path):
    check_num_foreground("classes", 254)
    with pytest.raises(ValueError, match=r"^classes: 255 foreground .* 254 apart"):
        check_num_foreground("classes", 255)
    mask = np.array([[0, 1, 253, 254, 255]], np.uint8)
    write_mask(tmp_path / "mask.png", mask, [[id_, 0, 0] for id_ in range(255)])
    assert read_mask(tmp_path / "mask.png").tolist() == mask.tolist()


def test_settings_that_give_ids_another_meaning_are_refused():
    check_id_settings("data")
    with pytest.raises(ValueError, match=r"^data has reduce_zero_label=True"):
        check_id_settings("data", reduce_zero_label=True)
    with pytest.raises(ValueError, match=r"^data has ignore_index=0"):
        check_id_settings("data", ignore_index=0)
