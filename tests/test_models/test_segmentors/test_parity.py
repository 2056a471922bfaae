"""The whole network against what the authors' program computed."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import LabelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_fsr.checkpoints import convert_official_state_dict
from tests.reference.golden_model import golden_model_cfg
from tests.support.own_cams import own_cams

STEP, MAX_ITERS = 8, 40


def load_official(segmentor, golden, network):
    missing, unexpected = segmentor.load_state_dict(
        convert_official_state_dict(golden.state_dict(network)).tensors, strict=False
    )
    assert unexpected == []
    own = [name for name in missing if not name.startswith("teacher.")]
    assert own == [
        "distill_head.class_center.value",
        "distill_head.patch_center.value",
    ]


@pytest.fixture
def segmentor(golden, training_step):
    training_step(STEP - 1, MAX_ITERS)
    model = MODELS.build(golden_model_cfg(golden.meta))
    load_official(model, golden, "student")
    load_official(model.teacher, golden, "teacher")
    return model.train()


@pytest.fixture
def data_samples(golden):
    return [
        SegDataSample(gt_label=LabelData(label=label))
        for label in golden["image_labels"]
    ]


def assert_close(actual, expected, atol=1e-5, rtol=0.0):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=rtol)


def joined_tokens(features):
    patches = features.feat.flatten(2).mT
    return torch.cat([features.cls_token.unsqueeze(1), patches], 1)


@pytest.mark.parametrize(
    ("images", "mask", "tokens", "aux_tokens"),
    [
        ("view1", None, "vit/tokens", "vit/aux_tokens"),
        ("view1", "vit/mask", "vit/masked_tokens", "vit/masked_aux_tokens"),
        ("vit/rect_input", None, "vit/rect_tokens", "vit/rect_aux_tokens"),
    ],
)
def test_tokens(segmentor, golden, images, mask, tokens, aux_tokens):
    features = segmentor.backbone(
        golden[images], mask=None if mask is None else golden[mask]
    )
    assert_close(joined_tokens(features), golden[tokens])
    assert_close(features.aux.flatten(2).mT, golden[aux_tokens])


def test_cams(segmentor, golden):
    cams = segmentor.cams(golden["view1"])
    assert_close(cams.top, golden["cam/view1"])
    assert_close(cams.aux, golden["cam/view1_aux"])
    view2 = segmentor.cams(golden["view2"], top=False)
    assert view2.top is None
    assert_close(view2.aux, golden["cam/view2_aux"])


def test_logits(segmentor, golden):
    features = segmentor.backbone(golden["view1"])
    top, aux = segmentor.cam_head(features)
    assert_close(top, golden["step/top_cls_logits"])
    assert_close(aux, golden["step/aux_cls_logits"])
    assert_close(segmentor.decode_head(features.levels), golden["step/seg_logits"])


def test_projections(segmentor, golden):
    views = torch.cat([golden["view1"], golden["view2"]])
    mask2 = golden["step/mask_view2"]
    mask = torch.cat([torch.zeros_like(mask2), mask2])
    student = segmentor.backbone(views, mask=mask)
    assert_close(
        segmentor.distill_head.project(joined_tokens(student)),
        golden["step/student_project"],
    )
    teacher = segmentor.teacher
    assert_close(
        teacher.distill_head.project(joined_tokens(teacher.backbone(views))),
        golden["step/teacher_project"],
    )


def test_pseudo_label(segmentor, golden):
    rgb = segmentor.data_preprocessor.denormalize(golden["view1"])
    assert_close(rgb, golden["raw_view1_rgb"].permute(0, 3, 1, 2).float(), atol=1e-3)
    label = segmentor.pseudo_label_generator.pseudo_label(
        rgb, *own_cams(segmentor.cams(golden["view1"]).top, golden["image_labels"])
    )
    differing = (label != golden["par/pseudo_label"].long()).float().mean()
    assert differing <= 1e-3


def test_affinity(segmentor, golden):
    cams = segmentor.cams(golden["view1"]).aux
    at_grid = F.interpolate(cams, (4, 4), mode="bilinear", align_corners=False)
    own = own_cams(at_grid, golden["image_labels"])
    cells = segmentor.pseudo_label_generator.label(*own)
    torch.testing.assert_close(cells, golden["ptc/label"].long(), atol=0, rtol=0)


@pytest.fixture
def step_losses(segmentor, golden, data_samples, monkeypatch):
    """One whole step with the golden mask and pseudo label."""
    monkeypatch.setattr(
        segmentor.mask_generator, "forward", lambda *_: golden["step/mask_view2"]
    )
    monkeypatch.setattr(
        segmentor.pseudo_label_generator,
        "pseudo_label",
        lambda *_: golden["step/pseudo_label"].long(),
    )
    inputs = dict(view1=golden["view1"], view2=golden["view2"])
    return segmentor.loss(inputs, data_samples)


def test_losses(step_losses, golden):
    weights = golden.meta["loss_weights"]
    expected = dict(
        loss_cls=golden["loss/cls_top"],
        loss_cls_aux=golden["loss/cls_aux"],
        loss_seg=weights["seg"] * golden["loss/seg"],
        loss_energy=weights["reg"] * golden["loss/reg"],
        loss_ptc=weights["ptc"] * golden["loss/ptc"],
        loss_fsr_class=weights["fsr_class"] * golden["loss/fsr_class"],
        loss_fsr_patch=weights["fsr_patch"] * golden["loss/fsr_patch"],
    )
    assert step_losses.keys() == expected.keys()
    for name, value in expected.items():
        rtol = 1e-3 if name == "loss_energy" else 1e-5
        assert step_losses[name].item() == pytest.approx(float(value), rel=rtol), name
    total = sum(step_losses.values()).item()
    assert total == pytest.approx(float(golden["loss/total"]), rel=1e-5)


def test_gradient_norms(segmentor, step_losses, golden):
    sum(step_losses.values()).backward()
    norms = {
        name: torch.tensor(0.0) if param.grad is None else param.grad.norm()
        for name, param in segmentor.named_parameters()
        if param.requires_grad
    }
    official = golden.state_dict("grad_norm")
    # The converter drops the class token's position from a tensor of three axes.
    shaped = {name: norm.reshape(1, 1, 1) for name, norm in official.items()}
    shaped["encoder.pos_embed"] = shaped["encoder.pos_embed"].expand(1, 2, 1)
    expected = {
        k: v.flatten()[0]
        for k, v in convert_official_state_dict(shaped).tensors.items()
    }
    assert norms.keys() == expected.keys()
    for name, norm in norms.items():
        # The key's bias has no effect on a softmax: its gradient is rounding alone.
        reference = pytest.approx(float(expected[name]), rel=1e-4, abs=1e-8)
        assert float(norm) == reference, name


def test_centers_after_first_step(segmentor, step_losses, golden):
    head = segmentor.distill_head
    head.update_centers()
    assert_close(head.class_center.value, golden["fsr/class_center_after"].flatten())
    assert_close(head.patch_center.value, golden["fsr/patch_center_after"].flatten())


def test_second_call_of_self_distillation(
    segmentor, step_losses, golden, training_step
):
    training_step(20, MAX_ITERS)
    head = segmentor.distill_head
    head.update_centers()
    student, teacher = golden["fsr/second_student"], golden["fsr/second_teacher"]
    batch = len(student) // 2
    losses = head.loss_by_projection(
        student[batch:, 0],
        teacher[:batch, 0],
        student[batch:, 1:],
        teacher[batch:, 1:],
        golden["step/mask_view2"].flatten(1),
    )
    weights = golden.meta["loss_weights"]
    for kind in ("class", "patch"):
        expected = weights[f"fsr_{kind}"] * float(golden[f"fsr/second_{kind}"])
        assert float(losses[f"loss_fsr_{kind}"]) == pytest.approx(expected, rel=1e-5)
    head.class_center.collect(teacher[:batch, 0])
    head.patch_center.collect(teacher[batch:, 1:])
    head.update_centers()
    assert_close(head.class_center.value, golden["fsr/class_center_second"].flatten())
    assert_close(head.patch_center.value, golden["fsr/patch_center_second"].flatten())
