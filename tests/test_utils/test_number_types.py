import io

import numpy as np
import pytest
import torch

import mmseg_fsr  # noqa: F401  (allows the types)


@pytest.mark.skipif(
    not hasattr(torch.serialization, "safe_globals"), reason="torch has no such list"
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_numbers_of_a_log_are_read_as_plain_data(dtype):
    from mmengine.runner.checkpoint import get_torch_safe_globals

    file = io.BytesIO()
    torch.save(dict(loss=dtype(3), history=np.ones(2, dtype)), file)
    file.seek(0)
    # What mmengine allows does not name these types.
    with torch.serialization.safe_globals(get_torch_safe_globals()):
        read = torch.load(file, weights_only=True)
    assert read["loss"] == 3
    assert read["history"].tolist() == [1, 1]
