import torch
from torch import nn

from mmseg_fsr.models.segmentors.batch_norm import untracked_batch_norm


def test_normalises_by_the_batch_and_keeps_the_statistics():
    norm = nn.BatchNorm2d(3)
    x = 5 + 2 * torch.randn(4, 3, 6, 6)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with untracked_batch_norm(nn.Sequential(norm)):
        out = norm(x)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    for name, value in norm.state_dict().items():
        assert torch.equal(value, before[name]), name
    norm(x)
    assert not torch.equal(norm.running_mean, before["running_mean"])


def test_keeps_the_statistics_of_all_processes_too():
    norm = nn.SyncBatchNorm(3)
    with untracked_batch_norm(nn.Sequential(norm)):
        assert not norm.track_running_stats
    assert norm.track_running_stats


def test_layers_in_evaluation_mode_use_their_statistics():
    norm = nn.BatchNorm2d(3).eval()
    x = 5 + torch.randn(4, 3, 6, 6)
    expected = norm(x)
    with untracked_batch_norm(norm):
        assert torch.equal(norm(x), expected)
    assert norm.track_running_stats
