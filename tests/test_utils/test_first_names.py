from mmseg_fsr.utils.first_names import first_names


def test_a_long_list_is_cut_and_its_rest_counted():
    assert first_names([]) == ""
    assert first_names(["b", "a"], 2) == "b, a"
    assert first_names("abcdef") == "a, b, c, d, e and 1 more"
    assert first_names("abc", limit=1, separator="; ") == "a and 2 more"
