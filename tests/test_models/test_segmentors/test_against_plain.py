"""The segmentor against the plain version, with networks of other sizes."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import LabelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_fsr.checkpoints import convert_official_state_dict
from mmseg_fsr.models.losses import DenseEnergyLoss
from tests.reference.plain_fsr import PlainFSR, moved, random_weights
from tests.support.tiny_segmentor import segmentor_cfg

MAX_ITERS = 100
SELF_DISTILLATION = ("distill_head", "mask_generator", "teacher")


@dataclass(frozen=True)
class Case:
    plain: PlainFSR
    weights: dict
    size: tuple[int, int]
    labels: list[list[int]]
    step: int
    energy_weight: float = 1e-4


CASES = {
    "patch 8, tall, three heads": Case(
        PlainFSR(
            patch_size=8,
            num_heads=3,
            dilation=2,
            aux_layer=-2,
            cam_scales=(1.0, 1.5),
            low_thr=0.35,
            high_thr=0.6,
            block_size=16,
            mask_ratio=0.35,
        ),
        dict(channels=24, num_layers=3, cls_depth=1, grid=3, patch_size=8,
             num_classes=4, decoder_channels=10, hidden=20, bottleneck=6, out=14),
        (48, 32),
        [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 1]],
        step=50,
    ),
    "patch 14, wide, random phase": Case(
        PlainFSR(
            patch_size=14,
            num_heads=4,
            dilation=3,
            block_size=28,
            mask_ratio=0.6,
            student_temp=0.2,
            loss_weights=dict(
                cls=1.0, cls_aux=1.0, seg=0.3, ptc=0.7, fsr_class=0.4, fsr_patch=0.5
            ),
        ),
        dict(channels=16, num_layers=5, cls_depth=3, grid=4, patch_size=14,
             num_classes=3, decoder_channels=7, hidden=12, bottleneck=5, out=9),
        (56, 84),
        [[0, 1, 1], [1, 0, 0]],
        step=7,
    ),
    "one image, one class": Case(
        PlainFSR(patch_size=8, num_heads=1, block_size=8, cam_scales=(1.0,)),
        dict(channels=8, num_layers=3, cls_depth=2, grid=2, patch_size=8,
             num_classes=2, decoder_channels=4, hidden=8, bottleneck=4, out=5),
        (32, 32),
        [[0, 1]],
        step=99,
    ),
    "an image without any label": Case(
        PlainFSR(patch_size=8, num_heads=2, block_size=16),
        dict(channels=8, num_layers=3, cls_depth=2, grid=4, patch_size=8,
             num_classes=3, decoder_channels=4, hidden=8, bottleneck=4, out=5),
        (32, 32),
        [[0, 0, 0], [1, 0, 0]],
        step=60,
    ),
    "no label at all": Case(
        PlainFSR(patch_size=8, num_heads=2, block_size=16),
        dict(channels=8, num_layers=3, cls_depth=2, grid=4, patch_size=8,
             num_classes=3, decoder_channels=4, hidden=8, bottleneck=4, out=5),
        (32, 32),
        [[0, 0, 0], [0, 0, 0]],
        step=60,
    ),
    "all labels": Case(
        PlainFSR(patch_size=8, num_heads=2, block_size=16),
        dict(channels=8, num_layers=3, cls_depth=2, grid=4, patch_size=8,
             num_classes=3, decoder_channels=4, hidden=8, bottleneck=4, out=5),
        (32, 48),
        [[1, 1, 1], [1, 1, 1]],
        step=60,
    ),
}  # fmt: skip
LIVELY = list(CASES)[:2]


def case_cfg(case: Case) -> dict:
    plain, sizes, weights = case.plain, case.weights, case.plain.loss_weights
    return segmentor_cfg(
        sizes["num_classes"],
        sizes["channels"],
        backbone=dict(
            arch=dict(num_layers=sizes["num_layers"], num_heads=plain.num_heads),
            img_size=sizes["grid"] * plain.patch_size,
            patch_size=plain.patch_size,
            out_indices=(plain.aux_layer, -1),
            aggregator=dict(depth=sizes["cls_depth"], num_heads=plain.num_heads),
        ),
        decode_head=dict(
            channels=sizes["decoder_channels"],
            dilation=plain.dilation,
            loss_decode=dict(loss_weight=weights["seg"]),
        ),
        affinity_head=dict(loss_weight=weights["ptc"]),
        distill_head=dict(
            hidden_channels=sizes["hidden"],
            bottleneck_channels=sizes["bottleneck"],
            out_channels=sizes["out"],
            student_temp=plain.student_temp,
            loss_class_weight=weights["fsr_class"],
            loss_patch_weight=weights["fsr_patch"],
        ),
        mask_generator=dict(block_size=plain.block_size, mask_ratio=plain.mask_ratio),
        pseudo_label_generator=dict(
            scales=plain.cam_scales, low_thr=plain.low_thr, high_thr=plain.high_thr
        ),
        loss_energy=dict(loss_weight=case.energy_weight),
    )


def random_views(case: Case) -> list[torch.Tensor]:
    """Two batches of normalised images with large shapes and some noise."""
    batch = len(case.labels)
    views = []
    for _ in range(2):
        coarse = F.interpolate(torch.randn(batch, 3, 4, 4), case.size, mode="bicubic")
        views.append((coarse + 0.1 * torch.randn(batch, 3, *case.size)).clamp(-2, 2))
    return views


def spy(monkeypatch, module, method: str) -> list:
    """What a method returns, call by call."""
    results, original = [], getattr(module, method)

    def call(*args, **kwargs):
        results.append(original(*args, **kwargs))
        return results[-1]

    monkeypatch.setattr(module, method, call)
    return results


class Comparison:
    """A step of the segmentor and the same step of the plain version."""

    def __init__(self, case: Case, monkeypatch, without: tuple[str, ...] = ()) -> None:
        torch.manual_seed(1)
        official = random_weights(**case.weights)
        official_teacher = moved(official)
        view1, view2 = random_views(case)
        blocks = [side // case.plain.block_size for side in case.size]
        noise = torch.rand(len(case.labels), *blocks)
        labels = torch.tensor(case.labels).float()
        centers = [0.1 * torch.randn(case.weights["out"]) for _ in range(2)]

        cfg = case_cfg(case)
        for name in without:
            cfg[name] = None
        self.segmentor = segmentor = MODELS.build(cfg)
        self._load(segmentor, official)
        self.masks = []
        if segmentor.distill_head is not None:
            self._load(segmentor.teacher, official_teacher)
            segmentor.distill_head.class_center.value.copy_(centers[0])
            segmentor.distill_head.patch_center.value.copy_(centers[1])
            monkeypatch.setattr(segmentor.mask_generator, "noise", lambda *_: noise)
            self.masks = spy(monkeypatch, segmentor.mask_generator, "forward")
        self.pseudo_labels = spy(
            monkeypatch, segmentor.pseudo_label_generator, "pseudo_label"
        )
        self.cells = spy(monkeypatch, segmentor.pseudo_label_generator, "label")
        segmentor.train()
        self.losses = segmentor.loss(
            dict(view1=view1, view2=view2),
            [SegDataSample(gt_label=LabelData(label=label)) for label in labels],
        )

        self.official = {
            k: v.double().requires_grad_(not k.endswith("weight_g"))
            for k, v in official.items()
        }
        rgb = segmentor.data_preprocessor.denormalize(view1)
        self.pseudo_label = case.plain.pseudo_label(
            rgb, case.plain.cams(self.official, view1.double())[0], labels
        )
        self.plain = case.plain.step(
            self.official,
            {k: v.double() for k, v in official_teacher.items()},
            view1.double(),
            view2.double(),
            labels,
            noise=noise,
            step=case.step,
            max_iters=MAX_ITERS,
            centers=[center.double() for center in centers],
            # Where two classes tie the two may differ in a few pixels.
            pseudo_label=self.pseudo_labels[0],
            energy=DenseEnergyLoss(loss_weight=case.energy_weight),
        )

    @staticmethod
    def _load(network, official):
        converted = convert_official_state_dict(official).tensors
        own = network.state_dict()
        grid = network.backbone.patch_resolution
        assert converted["backbone.pos_embed"].shape[1] == grid[0] * grid[1]
        network.load_state_dict(
            {name: x for name, x in converted.items() if name in own}, strict=False
        )

    def assert_equal(self, names: set[str]) -> None:
        """The losses of these names, no others, and their gradients."""
        assert self.losses.keys() == names
        for name, loss in self.losses.items():
            expected = self.plain["losses"][name].item()
            assert torch.isfinite(loss), name
            assert loss.item() == pytest.approx(expected, rel=2e-5, abs=1e-7), name
        sum(self.losses.values()).backward()
        total = sum(self.plain["losses"][name] for name in names)
        trained = {k: v for k, v in self.official.items() if v.requires_grad}
        grads = torch.autograd.grad(
            total, trained.values(), allow_unused=True, materialize_grads=True
        )
        gradients = dict(zip(trained, grads, strict=True))
        expected = convert_official_state_dict(gradients).tensors
        for name, param in self.segmentor.named_parameters():
            if not param.requires_grad:
                assert param.grad is None
                continue
            grad = torch.zeros_like(param) if param.grad is None else param.grad
            reference = expected.pop(name)
            difference = (grad - reference).norm()
            assert difference <= 1e-3 * reference.norm() + 1e-6, name
        # What is left belongs to parts that the segmentor goes without.
        assert all(not grad.any() for grad in expected.values())


ALL = {
    "loss_cls", "loss_cls_aux", "loss_seg", "loss_energy", "loss_ptc",
    "loss_fsr_class", "loss_fsr_patch",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_step(name, monkeypatch, training_step):
    case = CASES[name]
    training_step(case.step - 1, MAX_ITERS)
    step = Comparison(case, monkeypatch)
    (mask,) = step.masks
    assert torch.equal(mask, step.plain["mask"])
    (cells,) = step.cells
    assert torch.equal(cells, step.plain["cells"])
    (pseudo_label,) = step.pseudo_labels
    assert (pseudo_label != step.pseudo_label).float().mean() <= 1e-3
    if name in LIVELY:
        # Otherwise the comparison says little.
        assert {0, 255} < set(pseudo_label.unique().tolist())
        assert {0, 255} < set(cells.unique().tolist())
    step.assert_equal(ALL)
    head = step.segmentor.distill_head
    head.update_centers()
    for center, expected in zip(
        (head.class_center, head.patch_center), step.plain["centers"], strict=True
    ):
        torch.testing.assert_close(center.value, expected.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("without", "left_out"),
    [
        (("affinity_head",), {"loss_ptc"}),
        (("loss_energy",), {"loss_energy"}),
        (SELF_DISTILLATION, {"loss_fsr_class", "loss_fsr_patch"}),
        (
            (*SELF_DISTILLATION, "affinity_head", "loss_energy"),
            {"loss_fsr_class", "loss_fsr_patch", "loss_ptc", "loss_energy"},
        ),
    ],
)
def test_step_without_a_part(without, left_out, monkeypatch, training_step):
    case = CASES["all labels"]
    training_step(case.step - 1, MAX_ITERS)
    Comparison(case, monkeypatch, without).assert_equal(ALL - left_out)


def test_only_background_without_labels(monkeypatch, training_step):
    """Without labels all is background; nothing of the image's CAMs gets through."""
    case = CASES["no label at all"]
    training_step(case.step - 1, MAX_ITERS)
    step = Comparison(case, monkeypatch)
    assert not step.pseudo_labels[0].any()
    assert not step.cells[0].any()
