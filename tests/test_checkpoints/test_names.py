import pytest

from mmseg_fsr.checkpoints.names import (
    count_by_part,
    is_of_teacher,
    network_state_dict,
    part_of,
    under_prefix,
)

STATE = {
    "backbone.weight": 1,
    "backbone.teacher.weight": 2,
    "auxiliary_head.1.teacher.weight": 3,
}


def test_parts():
    assert part_of("backbone.layers.0.weight") == "backbone"
    assert part_of("weight") == "weight"
    names = ["backbone.a", "head.a", "backbone.b"]
    assert count_by_part(names) == ["backbone (2 tensors)", "head (1 tensor)"]


def test_under_a_prefix_names_lose_it_once():
    given = {"a.a.x": 1, "a.y": 2, "b.a.x": 3, "ab.x": 4}
    assert under_prefix(given, "a.") == {"a.x": 1, "y": 2}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("teacher.backbone.weight", True),
        ("auxiliary_head.1.teacher.mlp.0.bias", True),
        ("backbone.teacher", True),
        ("backbone.teachers.weight", False),
        ("", False),
    ],
)
def test_a_teacher_may_be_that_of_a_part(name, expected):
    assert is_of_teacher(name) == expected


def test_student_and_teacher_by_the_names_of_the_student():
    with_teacher = STATE | {"teacher.backbone.weight": 4}
    assert network_state_dict(with_teacher, "student") == {"backbone.weight": 1}
    assert network_state_dict(with_teacher, "teacher") == {"backbone.weight": 4}
    with pytest.raises(ValueError, match="holds no teacher"):
        network_state_dict(STATE, "teacher")
