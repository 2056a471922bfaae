from mmseg_fsr.utils.first_names import did_you_mean, first_names


def test_a_long_list_is_cut_and_its_rest_counted():
    assert first_names([]) == ""
    assert first_names(["b", "a"], 2) == "b, a"
    assert first_names("abcdef") == "a, b, c, d, e and 1 more"
    assert first_names("abc", limit=1, separator="; ") == "a and 2 more"


def test_the_nearest_name_is_asked_for():
    known = {"num_workers", "batch_size"}
    assert did_you_mean("num_wokers", known) == "did you mean 'num_workers'? "
    assert did_you_mean("sampler", known) == ""
