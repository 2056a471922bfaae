from mmseg_fsr.utils.nested_dicts import inner_datasets, nested_dicts, type_name


def test_dicts_come_from_the_outside_in_whatever_is_between():
    inner, other = dict(c=1), dict(d=[])
    outer = dict(a=[(inner, 5), "text"], b=other)
    assert list(nested_dicts(outer)) == [outer, inner, other]
    assert list(nested_dicts([outer, None])) == [outer, inner, other]
    assert list(nested_dicts("text")) == []


def test_types_are_named_without_their_scope():
    for kind in ("ResNet", "mmseg.ResNet", type("ResNet", (), {})):
        assert type_name(dict(type=kind)) == "ResNet"
    assert type_name({}) == ""


def test_data_sets_within_wrappers():
    one, two, three = dict(type="A"), dict(type="B"), dict(type="C")
    assert inner_datasets(one) == [one]
    both = dict(type="ConcatDataset", datasets=[one, dict(type="R", dataset=two)])
    around = dict(type="RepeatDataset", dataset=dict(datasets=[both, three]))
    assert inner_datasets(around) == [one, two, three]
