"""The plain version of the method against what the authors' program computed."""

import pytest
import torch

from mmseg_fsr.models.losses import DenseEnergyLoss

from .plain_fsr import PlainFSR, refine

STEP, MAX_ITERS = 8, 40


@pytest.fixture(scope="module")
def plain(golden):
    meta = golden.meta
    weights = {k: v for k, v in meta["loss_weights"].items() if k != "reg"}
    return PlainFSR(
        patch_size=meta["patch_size"],
        num_heads=meta["num_heads"],
        dilation=meta["decoder_dilation"],
        aux_layer=meta["aux_layer"],
        cam_scales=tuple(meta["cam_scales"]),
        low_thr=meta["low_thre"],
        high_thr=meta["high_thre"],
        block_size=meta["block_size"],
        temp_share=0.25,
        loss_weights=dict(cls=1.0, cls_aux=1.0, **weights),
    )


@pytest.fixture(scope="module")
def student(golden):
    return {
        k: v.requires_grad_(not k.endswith("weight_g"))
        for k, v in golden.state_dict("student").items()
    }


@pytest.fixture(scope="module")
def step(golden, plain, student):
    meta = golden.meta["energy"]
    energy = DenseEnergyLoss(
        loss_weight=golden.meta["loss_weights"]["reg"] * meta["weight"],
        sigma_rgb=meta["sigma_rgb"],
        sigma_xy=meta["sigma_xy"],
        scale_factor=meta["scale_factor"],
    )
    return plain.step(
        student,
        golden.state_dict("teacher"),
        golden["view1"],
        golden["view2"],
        golden["image_labels"],
        step=STEP,
        max_iters=MAX_ITERS,
        mask=golden["step/mask_view2"],
        pseudo_label=golden["step/pseudo_label"].long(),
        energy=energy,
    )


def assert_close(actual, expected, atol=1e-5):
    # Relative: float32 rounds large values by as much on other processors.
    torch.testing.assert_close(actual, expected, atol=atol, rtol=2e-6)


@pytest.mark.parametrize(
    ("images", "mask", "tokens"),
    [
        ("view1", None, ""),
        ("view1", "vit/mask", "masked_"),
        ("vit/rect_input", None, "rect_"),
    ],
)
def test_tokens(golden, plain, student, images, mask, tokens):
    with torch.no_grad():
        actual, aux = plain.encode(student, golden[images], mask and golden[mask])
    assert_close(actual, golden[f"vit/{tokens}tokens"])
    assert_close(aux, golden[f"vit/{tokens}aux_tokens"])


def test_cams(golden, plain, student, step):
    assert_close(step["cams"], golden["cam/view1"])
    assert_close(step["aux_cams"], golden["cam/view1_aux"])
    assert_close(plain.cams(student, golden["view2"])[1], golden["cam/view2_aux"])


def test_labels(golden, plain, step):
    labels = golden["image_labels"]
    actual = plain.label(golden["cam/view1"], labels)
    assert torch.equal(actual, golden["cam/label_two_thresholds"].long())
    assert torch.equal(step["cells"], golden["ptc/label"].long())
    affinity = plain.affinity(step["cells"].flatten(1))
    assert torch.equal(affinity, golden["ptc/affinity"].long())


def test_refinement_and_pseudo_label(golden, plain):
    for image, maps, expected in zip(
        golden["par/half_image"], golden["par/in"], golden["par/out"], strict=True
    ):
        assert_close(refine(image, maps), expected)
    rgb = golden["raw_view1_rgb"].permute(0, 3, 1, 2)
    actual = plain.pseudo_label(rgb, golden["cam/view1"], golden["image_labels"])
    differing = actual != golden["par/pseudo_label"].long()
    assert differing.float().mean() <= 1e-3


def test_logits_and_projections(golden, plain, student, step):
    assert_close(step["top_logits"], golden["step/top_cls_logits"])
    assert_close(step["aux_logits"], golden["step/aux_cls_logits"])
    assert_close(step["seg_logits"], golden["step/seg_logits"])
    student1, student2 = golden["step/student_project"].chunk(2)
    assert_close(plain.project(student, step["tokens1"]), student1)
    assert_close(step["student_project2"], student2)
    teacher1, teacher2 = golden["step/teacher_project"].chunk(2)
    assert_close(step["teacher_project1"], teacher1)
    assert_close(step["teacher_project2"], teacher2)


def test_losses_and_gradient_norms(golden, student, step):
    weights = golden.meta["loss_weights"]
    for name, loss in step["losses"].items():
        key = {
            "loss_cls": "cls_top",
            "loss_energy": "reg",
        }.get(name, name.removeprefix("loss_"))
        expected = weights.get(key, 1.0) * float(golden[f"loss/{key}"])
        rtol = 1e-3 if key == "reg" else 1e-5
        assert loss.item() == pytest.approx(expected, rel=rtol), name
    total = sum(step["losses"].values())
    assert total.item() == pytest.approx(float(golden["loss/total"]), rel=1e-5)
    trained = {k: v for k, v in student.items() if v.requires_grad}
    grads = torch.autograd.grad(total, trained.values(), allow_unused=True)
    norms = golden.state_dict("grad_norm")
    assert trained.keys() == norms.keys()
    for name, grad in zip(trained, grads, strict=True):
        actual = 0.0 if grad is None else float(grad.norm())
        assert actual == pytest.approx(float(norms[name]), rel=1e-4, abs=1e-8), name


def test_temperature(golden, plain):
    actual = [plain.teacher_temp(i + 1, MAX_ITERS) for i in range(MAX_ITERS)]
    assert actual == pytest.approx(golden["fsr/teacher_temp"].tolist(), rel=1e-6)
    assert golden["fsr/epoch"] == STEP - 1


def test_centers_and_second_call(golden, plain, step):
    for i, name in enumerate(("class", "patch")):
        expected = golden[f"fsr/{name}_center_after"].flatten()
        assert_close(step["centers"][i], expected)
    student, teacher = golden["fsr/second_student"], golden["fsr/second_teacher"]
    batch = len(student) // 2
    losses = plain.fsr_losses(
        student[batch:],
        teacher[:batch, 0],
        teacher[batch:, 1:],
        golden["step/mask_view2"],
        step["centers"],
        plain.teacher_temp(21, MAX_ITERS),
    )
    centers = plain.moved_centers(
        step["centers"], teacher[:batch, 0], teacher[batch:, 1:]
    )
    for i, name in enumerate(("class", "patch")):
        expected = float(golden[f"fsr/second_{name}"])
        assert float(losses[i]) == pytest.approx(expected, rel=1e-5)
        assert_close(centers[i], golden[f"fsr/{name}_center_second"].flatten())


def test_inference(golden, plain, student):
    actual = plain.infer(student, golden["view1"][:1], (1.0, 1.25, 1.5))
    assert_close(actual, golden["infer/ms_flip_logits"])
