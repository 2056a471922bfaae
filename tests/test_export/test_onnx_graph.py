import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from torch import nn

from mmseg_fsr.export.onnx_graph import check_exportable, onnx_graph
from mmseg_fsr.models.heads import LargeFOVHead
from tests.support.project_files import CONFIGS, load_config
from tests.support.reduced_config import reduced_config
from tests.support.tiny_segmentor import build_tiny, shake

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# One of each kind of backbone but Swin, which takes time as the others do.
QUICK = ("vit-s", "clip-b", "mit-b1", "convnext-t", "r101")
MODEL_FILES = sorted(
    path.stem.removeprefix("fsr_") for path in (CONFIGS / "_base_/models").glob("*.py")
)
SIZES = [(64, 96), (97, 131), (120, 77)]


def build(cfg):
    """A model with random weights, of which the norms' statistics are a part."""
    torch.manual_seed(0)
    model = shake(MODELS.build(cfg), 0.05)
    for name, x in model.named_buffers():
        if "running" in name:
            x.add_(0.3 * torch.rand_like(x))
    return model.eval()


def run(graph, images):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options)
    return session.run(None, dict(image=images))[0]


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)


@torch.no_grad()
def torch_logits(model, images):
    """Logits of the network alone: normalised by hand, resized once."""
    normalise = model.data_preprocessor
    x = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2)
    if not normalise._bgr_to_rgb:
        x = x[:, [2, 1, 0]]
    if normalise._normalizes:
        x = (x - normalise.mean) / normalise.std
    logits = model.decode_head(model.extract_feat(x))
    if (model.test_cfg or {}).get("image_level_prior"):
        scores, _ = model.cam_head(model.backbone(x))
        logits[:, 1:] += scores.sigmoid().log()[..., None, None]
    return F.interpolate(logits, images.shape[1:3], mode="bilinear").numpy()


def assert_same_logits(model, graph, sizes=SIZES):
    for size in sizes:
        images = pictures(2, *size)
        expected = torch_logits(model, images)
        assert expected.std() > 0.01
        found = run(graph, images)
        np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in MODEL_FILES
    ],
)
def test_every_backbone_gives_the_same_logits_at_any_size(name):
    cfg = load_config("fsr_vit-b_voc")
    cfg.model = load_config(f"_base_/models/fsr_{name}").model
    model = build(reduced_config(cfg).model)
    state = copy.deepcopy(model.state_dict())
    images = pictures(1, 64, 64)
    before = torch_logits(model, images)
    graph = onnx_graph(model, "logits")
    assert_same_logits(model, graph)
    # The model stays what it was, and the file has what a segmentation takes.
    assert np.array_equal(torch_logits(model, images), before)
    assert all(torch.equal(x, state[key]) for key, x in model.state_dict().items())
    proto = onnx.load_from_string(graph)
    weights = sum(np.prod(x.dims) for x in proto.graph.initializer)
    needed = sum(
        x.numel()
        for part in (model.backbone, model.decode_head)
        for x in (*part.parameters(), *part.buffers())
    )
    assert 0.5 * needed < weights < 1.1 * needed
    assert not [
        x.name
        for x in proto.graph.initializer
        if any(part in x.name for part in ("teacher", "cam_head", "distill"))
    ]


def test_an_image_level_prior_is_in_the_graph():
    model = build_tiny(test_cfg=dict(mode="whole", image_level_prior=True)).eval()
    without = onnx_graph(build_tiny().eval(), "logits")
    graph = onnx_graph(model, "logits")
    assert_same_logits(model, graph)
    images = pictures(1, 64, 96)
    assert not np.allclose(run(graph, images), run(without, images), atol=0.01)


@pytest.mark.slow
def test_a_swin_that_does_not_pad_takes_one_size():
    model = build(load_config("fsr_swin_scenes").model)
    with pytest.raises(ValueError, match=r"pad_small_map is False.* --size H W"):
        onnx_graph(model)
    graph = onnx_graph(model, "logits", (96, 96))
    assert_same_logits(model, graph, [(96, 96)])
    with pytest.raises(Exception, match="Got invalid dimensions"):
        run(graph, pictures(1, 96, 108))


@pytest.mark.slow
def test_mmseg_s_own_segmentor_with_its_swin_and_pooled_branches():
    cfg = dict(
        type="EncoderDecoder",
        data_preprocessor=dict(
            type="MultiViewSegDataPreProcessor",
            mean=[127.5] * 3, std=[50.0] * 3, bgr_to_rgb=True,
        ),
        backbone=dict(
            type="SwinTransformer", embed_dims=8, depths=[2, 2], num_heads=[2, 2],
            strides=[4, 2], out_indices=[1], window_size=4,
        ),
        decode_head=dict(
            type="PSPHead", in_channels=16, in_index=0, channels=8, num_classes=5,
            norm_cfg=dict(type="BN"), align_corners=False,
        ),
    )  # fmt: skip
    model = build(ConfigDict(cfg))
    assert_same_logits(model, onnx_graph(model, "logits"))


@pytest.mark.parametrize("bgr_to_rgb", [True, False])
@pytest.mark.parametrize("normalise", [True, False])
def test_colours_reach_the_network_as_in_training(bgr_to_rgb, normalise):
    torch.manual_seed(0)
    numbers = dict(mean=[10.0, 100.0, 200.0], std=[20.0, 50.0, 80.0])
    preprocessor = dict(
        type="MultiViewSegDataPreProcessor", bgr_to_rgb=bgr_to_rgb,
        **(numbers if normalise else {}),
    )  # fmt: skip
    model = build_tiny(data_preprocessor=preprocessor).eval()
    assert_same_logits(model, onnx_graph(model, "logits"))


def test_labels_are_the_largest_logits():
    torch.manual_seed(0)
    model = build_tiny().eval()
    images = pictures(2, 50, 70)
    labels = run(onnx_graph(model), images)
    assert labels.dtype == np.uint8
    assert labels.shape == (2, 50, 70)
    assert np.mean(labels == torch_logits(model, images).argmax(1)) > 0.999
    assert len(np.unique(labels)) > 1


class HeadOfMasks(LargeFOVHead):
    def predict(self, inputs, batch_img_metas, test_cfg):
        raise NotImplementedError


def test_what_the_graph_would_not_reproduce_is_refused_by_name():
    with pytest.raises(ValueError, match="Linear cannot be exported: expected a segm"):
        check_exportable(nn.Linear(1, 1), None)
    model = build_tiny()
    check_exportable(model, None)
    model.decode_head.__class__ = HeadOfMasks
    with pytest.raises(ValueError, match=r"a HeadOfMasks, .* has its own predict;"):
        onnx_graph(model)
    model.decode_head.__class__ = LargeFOVHead
    model.decode_head.out_channels = 1
    with pytest.raises(ValueError, match=r"has 1 output\(s\) for 4 classes"):
        onnx_graph(model)
    model.decode_head.num_classes = model.decode_head.out_channels = 300
    with pytest.raises(ValueError, match="has 300 classes: labels of 8 bits"):
        onnx_graph(model)
    model.decode_head.num_classes = model.decode_head.out_channels = 4
    model.data_preprocessor.test_cfg = dict(size_divisor=32)
    with pytest.raises(ValueError, match=r"data_preprocessor\.test_cfg pads pictures"):
        onnx_graph(model)


class Spectral(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


def test_an_operator_that_onnx_lacks_is_named():
    model = build_tiny()
    model.decode_head.convs.append(Spectral())
    with pytest.raises(
        ValueError,
        match=r"FSRViT with LargeFOVHead cannot be exported for any size: .*bessel_j0",
    ):
        onnx_graph(model)


class OfOneSize(nn.Module):
    def forward(self, x):
        assert x.shape[2] == 5, f"{x.shape[2]} rows"
        return x


def test_a_network_of_one_size_says_so():
    model = build_tiny()
    model.decode_head.convs.append(OfOneSize())
    with pytest.raises(ValueError, match=r"any size: 12 rows; .* --size H W"):
        onnx_graph(model)
    with pytest.raises(ValueError, match=r"for 48 x 40: 6 rows$"):
        onnx_graph(model, size=(48, 40))
    assert run(onnx_graph(model, size=(40, 48)), pictures(1, 40, 48)).shape[1] == 40
