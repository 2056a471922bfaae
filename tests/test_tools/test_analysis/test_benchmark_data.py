import json
import time

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from mmseg.registry import TRANSFORMS
from torch.utils.data import DataLoader

from tests.support.project_files import load_tool
from tests.support.runs import own_globals

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tool():
    return load_tool("analysis/benchmark_data")


def test_rates_transforms_and_needs_are_measured(tool, tiny, tmp_path, capsys):
    out = tmp_path / "data.json"
    arguments = ["--batches", "2", "--runs", "3", "--gpu-rate", "1", "1e9"]
    with own_globals():
        tool.main([str(tiny), *arguments, "--workers", "0", "2", "--out", str(out)])
    report = json.loads(out.read_text())
    assert report["environment"].keys() >= {"date", "processor", "load", "mmcv"}
    assert [row["workers"] for row in report["rows"]] == [0, 2]
    for row in report["rows"]:
        assert len(row["rates"]) == 3
        assert min(row["rates"]) > 0
    seconds = report["seconds_an_image"]
    assert set(seconds) == {
        "LoadImageFromFile", "ScaleTo8Bit", "RandomResizedCrop", "RandomFlip",
        "ColorJitter", "PackMultiViewSegInputs", "collate", "rest",
    }  # fmt: skip
    assert min(seconds.values()) > 0
    first, second = report["needed"]
    assert (first["gpu_rate"], second["gpu_rate"]) == (1, 1e9)
    assert first["workers"] == 1 < second["workers"]
    printed, rates = capsys.readouterr().out, report["rows"][1]["rates"]
    for line in (
        f"| 2 | {np.median(rates):.1f} | {min(rates):.1f} to {max(rates):.1f} |",
        f"| collate | {1e3 * seconds['collate']:.2f} |",
        f"| 1e+09 | {second['workers']} |",
    ):
        assert line in printed


@pytest.mark.parametrize(
    ("rows", "want"),
    [
        # The fewest workers hinder each other least.
        ([(4, [40.0]), (1, [20.0, 5.0, 25.0])], 3),
        ([(0, [60.0])], 1),
        # Workers count, where there are any.
        ([(0, [60.0]), (2, [20.0])], 6),
    ],
)
def test_need_is_rounded_up_from_the_median(tool, rows, want):
    rows = [dict(workers=workers, rates=rates) for workers, rates in rows]
    assert tool.workers_needed(rows, 60.0) == want


@TRANSFORMS.register_module()
class Wait(BaseTransform):
    """Takes its time, in seconds."""

    now = [0.0]

    def __init__(self, seconds):
        self.seconds = seconds

    def transform(self, results):
        self.now[0] += self.seconds
        return results


@pytest.fixture
def _clock(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", lambda: Wait.now[0])


@TRANSFORMS.register_module()
class WaitLonger(Wait):
    pass


class Items(BaseDataset):
    def load_data_list(self):
        return [dict(img=np.zeros(1), data_samples=index) for index in range(8)]


@pytest.mark.usefixtures("_clock")
def test_times_are_those_of_an_image(tool):
    view = [dict(type="WaitLonger", seconds=3.0)]
    pipeline = [
        dict(type="Wait", seconds=1.0),
        dict(type="mmpretrain.MultiView", num_views=[2], transforms=[view]),
    ]
    loader = DataLoader(Items(pipeline=pipeline), batch_size=2, collate_fn=list)
    seconds = tool.transform_times(loader, batches=3)
    # A second for each image, three for each view.
    assert seconds == {"WaitLonger": 6, "Wait": 1, "collate": 0, "rest": 0}


@pytest.mark.usefixtures("_clock")
def test_runs_go_on_where_an_epoch_ends(tool):
    dataset = Items(pipeline=[dict(type="Wait", seconds=0.5)])
    loader = DataLoader(
        dataset, batch_size=3, collate_fn=lambda items: dict(data_samples=items)
    )
    # Batches of 3, 3 and 2 images, in turn.
    assert tool.rates(loader, batches=5, runs=3) == [2, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workers", "-1"), "--workers: expected 0 or more"),
        (("--gpu-rate", "0"), "--gpu-rate: expected more than 0"),
        (("--gpu-rate", "nan"), "--gpu-rate: expected more than 0"),
        (("--batches", "0"), "--batches"),
        (("--out", "nowhere/a.json"), "--out: no such folder: nowhere"),
    ],
)
def test_bad_arguments_are_one_line(tool, tiny, arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        tool.main([str(tiny), *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
