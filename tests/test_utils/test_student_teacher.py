import pytest

from mmseg_fsr.checkpoints.names import is_of_teacher, network_state_dict


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("teacher.backbone.weight", True),
        ("backbone.teacher.backbone.weight", True),
        ("auxiliary_head.1.teacher.mlp.0.bias", True),
        ("backbone.teacher", True),
        ("backbone.teachers.weight", False),
        ("backbone.weight", False),
        ("", False),
    ],
)
def test_a_teacher_may_be_that_of_a_part(name, expected):
    assert is_of_teacher(name) == expected


def test_the_student_is_without_the_teachers_of_its_parts():
    state = {
        "backbone.weight": 1,
        "backbone.teacher.weight": 2,
        "auxiliary_head.1.teacher.weight": 3,
    }
    assert network_state_dict(state, "student") == {"backbone.weight": 1}
    with pytest.raises(ValueError, match="holds no teacher"):
        network_state_dict(state, "teacher")


def test_the_teacher_has_the_names_of_the_student():
    state = {"backbone.weight": 1, "teacher.backbone.weight": 2}
    assert network_state_dict(state, "student") == {"backbone.weight": 1}
    assert network_state_dict(state, "teacher") == {"backbone.weight": 2}
