from mmseg_fsr.checkpoints.names import count_by_part, part_of, under_prefix


def test_a_part_is_the_first_word():
    assert part_of("backbone.layers.0.weight") == "backbone"
    assert part_of("weight") == "weight"


def test_under_a_prefix_names_lose_it_once():
    given = {"a.a.x": 1, "a.y": 2, "b.a.x": 3, "ab.x": 4}
    assert under_prefix(given, "a.") == {"a.x": 1, "y": 2}


def test_tensors_are_counted_by_part():
    names = ["backbone.a", "head.a", "backbone.b"]
    assert count_by_part(names) == ["backbone (2 tensors)", "head (1 tensor)"]
