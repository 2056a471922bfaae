import pytest
import torch

from mmseg_fsr.models.pseudo_labels import MixtureThresholds, mixture_thresholds

BACKGROUND, FOREGROUND = 0.1, 0.8


def draw_cams(share=0.25, batch=4, size=(64, 64)):
    """Maps whose background and foreground both spread by 0.05."""
    cams = torch.full((batch, 1, *size), BACKGROUND)
    cams[torch.rand(cams.shape) < share] = FOREGROUND
    return (cams + 0.05 * torch.randn(cams.shape)).clamp(0, 1)


def follow(module, steps=20, **kwargs):
    for _ in range(steps):
        module.update(draw_cams(**kwargs), torch.ones(4, 1, dtype=torch.bool))
    return module


def test_fits_background_and_foreground():
    module = follow(MixtureThresholds(0.25, 0.7))
    assert module.weight.tolist() == pytest.approx([0.75, 0.25], abs=0.03)
    assert module.mean.tolist() == pytest.approx([BACKGROUND, FOREGROUND], abs=0.02)
    assert module.std.item() == pytest.approx(0.05, abs=0.01)
    assert BACKGROUND + 0.1 < module.low < module.high < FOREGROUND - 0.1


def test_confidence_sets_the_thresholds_apart():
    torch.manual_seed(0)
    equal = follow(MixtureThresholds(0.25, 0.7, confidence=0.5))
    torch.manual_seed(0)
    sure = follow(MixtureThresholds(0.25, 0.7, confidence=0.99))
    assert equal.low == equal.high
    assert sure.low < equal.low < sure.high


def test_starts_from_the_constants():
    module = MixtureThresholds(0.25, 0.7)
    assert (module.low.item(), module.high.item()) == pytest.approx((0.25, 0.7))


def test_follows_slowly():
    module = follow(MixtureThresholds(0.25, 0.7, momentum=0.9), share=0.1)
    few = module.weight[1].item()
    module.update(draw_cams(share=0.6), torch.ones(4, 1, dtype=torch.bool))
    once = module.weight[1].item()
    assert few + 0.02 < once < few + 0.1
    assert follow(module, steps=60, share=0.6).weight[1] > 0.55


def test_classes_of_other_images_do_not_count():
    cams = torch.cat([draw_cams(), torch.ones(4, 1, 64, 64)], dim=1)
    one, both = MixtureThresholds(0.25, 0.7), MixtureThresholds(0.25, 0.7)
    one.update(cams[:, :1], torch.ones(4, 1, dtype=torch.bool))
    both.update(cams, torch.tensor([[True, False]]).repeat(4, 1))
    assert torch.equal(one.counts, both.counts)
    both.update(cams, torch.ones(4, 2, dtype=torch.bool))
    assert both.counts[-1] > 10


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_maps_of_one_value_leave_thresholds_in_range(value):
    module = MixtureThresholds(0.25, 0.7, momentum=0.5)
    cams, present = torch.full((2, 1, 32, 32), value), torch.ones(2, 1).bool()
    for _ in range(300):
        module.update(cams, present)
    assert 0.25 <= module.low <= module.high <= 0.7 + 1e-6
    assert all(buffer.isfinite().all() for buffer in module.buffers())


def test_counts_the_batches_of_all_ranks(monkeypatch):
    alone, other = draw_cams(), draw_cams(share=0.6)
    present = torch.ones(4, 1, dtype=torch.bool)
    whole = MixtureThresholds(0.25, 0.7)
    whole.update(torch.cat([alone, other]), present.repeat(2, 1))
    counter = MixtureThresholds(0.25, 0.7, momentum=0)
    counter.update(other, present)
    monkeypatch.setattr(
        mixture_thresholds, "all_reduce", lambda counts: counts.add_(counter.counts)
    )
    part = MixtureThresholds(0.25, 0.7)
    part.update(alone, present)
    for name, value in whole.named_buffers():
        torch.testing.assert_close(part.get_buffer(name), value)


def test_travels_with_the_checkpoint():
    module, other = follow(MixtureThresholds(0.25, 0.7)), MixtureThresholds(0.3, 0.5)
    other.load_state_dict(module.state_dict())
    cams, present = draw_cams(), torch.ones(4, 1, dtype=torch.bool)
    for thresholds in (module, other):
        thresholds.update(cams, present)
    assert torch.equal(module.low, other.low)
    assert torch.equal(module.high, other.high)
    assert not list(module.parameters())


def test_the_constants_are_bounds():
    module = follow(MixtureThresholds(0.4, 0.5, confidence=0.9999999))
    assert (module.low.item(), module.high.item()) == pytest.approx((0.4, 0.5))
    # Of maps with one mode a mixture says anything.
    module = MixtureThresholds(0.25, 0.7)
    for _ in range(300):
        cams = (0.4 + 0.1 * torch.randn(2, 1, 64, 64)).clamp(0, 1)
        module.update(cams, torch.ones(2, 1, dtype=torch.bool))
        assert 0.25 <= module.low <= module.high <= 0.7 + 1e-6


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_refuses_a_momentum_out_of_range(momentum):
    with pytest.raises(ValueError, match=f"momentum={momentum}: expected"):
        MixtureThresholds(0.25, 0.7, momentum=momentum)


@pytest.mark.parametrize("confidence", [0.4, 1.0])
def test_refuses_a_confidence_that_is_none(confidence):
    with pytest.raises(ValueError, match=f"confidence={confidence}: expected"):
        MixtureThresholds(0.25, 0.7, confidence=confidence)
