import pytest
import torch
from mmengine.structures import LabelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def build(**kwargs):
    settings = dict(
        type="MultiViewSegDataPreProcessor", mean=MEAN, std=STD, bgr_to_rgb=True
    )
    return MODELS.build({**settings, **kwargs})


def images(count, height=5, width=4):
    return list(torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8))


def samples(count):
    return [
        SegDataSample(gt_label=LabelData(label=torch.ones(3))) for _ in range(count)
    ]


def normalized(image, mean, std, swap):
    """One pixel of one channel at a time."""
    result = torch.empty(image.shape)
    for channel in range(3):
        source = 2 - channel if swap else channel
        for y in range(image.shape[1]):
            for x in range(image.shape[2]):
                value = float(image[source, y, x])
                result[channel, y, x] = (value - mean[channel]) / std[channel]
    return result


@pytest.mark.parametrize("swap", [True, False])
@pytest.mark.parametrize("stacked", [True, False])
def test_views_become_normalized_batches(swap, stacked):
    views = dict(view1=images(3), view2=images(3, 7, 6))
    expected = {
        name: torch.stack([normalized(image, MEAN, STD, swap) for image in batch])
        for name, batch in views.items()
    }
    if stacked:
        views = {name: torch.stack(batch) for name, batch in views.items()}
    data = build(bgr_to_rgb=swap)(dict(inputs=views, data_samples=samples(3)), True)

    assert list(data["inputs"]) == ["view1", "view2"]
    for name, batch in data["inputs"].items():
        assert batch.dtype == torch.float32
        torch.testing.assert_close(batch, expected[name])
    assert [sample.gt_label.label.tolist() for sample in data["data_samples"]] == [
        [1, 1, 1]
    ] * 3


@pytest.mark.parametrize("bgr_to_rgb", [True, False])
@pytest.mark.parametrize("scaling", [dict(), dict(mean=None, std=None)])
def test_denormalize_gives_back_the_rgb_image(bgr_to_rgb, scaling):
    preprocessor = build(bgr_to_rgb=bgr_to_rgb, **scaling)
    bgr = images(2)
    batch = preprocessor(dict(inputs=dict(view1=bgr), data_samples=samples(2)), True)
    restored = preprocessor.denormalize(batch["inputs"]["view1"])

    assert restored.dtype == torch.float32
    torch.testing.assert_close(restored, torch.stack(bgr).flip(1).float())


def test_denormalize_is_float32_and_unclamped():
    preprocessor = build()
    restored = preprocessor.denormalize(torch.full((1, 3, 2, 2), 9.0).half())

    assert restored.dtype == torch.float32
    assert restored.max() > 255


@pytest.mark.parametrize(("training", "size"), [(True, (8, 8)), (False, (5, 4))])
def test_single_images_take_the_way_of_mmseg(training, size):
    (image,), settings = images(1), dict(size=size) if training else {}
    ours, theirs = (
        build(type=kind, **settings)(
            dict(inputs=[image.clone()], data_samples=[SegDataSample()]), training
        )["inputs"]
        for kind in ("MultiViewSegDataPreProcessor", "SegDataPreProcessor")
    )
    assert torch.equal(ours, theirs)
    assert ours.shape[-2:] == size


def test_views_of_unequal_size_are_named():
    views = dict(view1=images(2), view2=[*images(1), *images(1, 6, 4)])
    with pytest.raises(
        ValueError, match=r"'view2' .* got \[\(3, 5, 4\), \(3, 6, 4\)\]"
    ):
        build()(dict(inputs=views, data_samples=samples(2)), True)


def test_the_other_swap_of_channels_is_refused():
    with pytest.raises(ValueError, match="rgb_to_bgr is not supported"):
        build(bgr_to_rgb=False, rgb_to_bgr=True)


def test_no_samples_are_no_error():
    data = build()(dict(inputs=dict(view1=images(1))), True)
    assert data["data_samples"] is None


def test_copies_neither_wait_nor_lose_the_pinned_memory(monkeypatch):
    copied = []

    def to(self, device, non_blocking=False):
        copied.append((self.shape, self.dtype, non_blocking))
        return self

    monkeypatch.setattr(torch.Tensor, "to", to)
    views = dict(view1=images(2), view2=images(2, 7, 6))
    build()(dict(inputs=views, data_samples=samples(2)), True)
    # One by one: a batch that is stacked on the host lies in other memory.
    assert copied == [
        *[((3, 5, 4), torch.uint8, True)] * 2,
        *[((3, 7, 6), torch.uint8, True)] * 2,
        *[((3,), torch.float32, True)] * 2,
    ]
