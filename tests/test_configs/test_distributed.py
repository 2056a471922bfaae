"""Two processes train a config of each family: no parameter is idle.

The plain ViT's is in test_end_to_end/test_distributed.py.
"""

import sys

import pytest

from tests.support.free_port import free_port
from tests.support.project_files import ROOT
from tests.support.runs import run_process

FAMILIES = [
    "fsr_r18_scenes",
    "fsr_convnext-t_voc",
    "fsr_mit-b1_voc",
    "fsr_swin_scenes",
    "fsr_dinov2-s_voc",
    "ablations/r50_voc-mini_local-crops",
]


@pytest.mark.slow
def test_no_parameter_is_idle():
    output = run_process(
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2",
        f"--master_port={free_port()}", "-m", "tests.test_configs.distributed_steps",
        *FAMILIES, cwd=ROOT,
    )  # fmt: skip
    assert [f"trained {name}" for name in FAMILIES] == [
        line for line in output.splitlines() if line.startswith("trained ")
    ]
