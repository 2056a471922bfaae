from mmseg_fsr.analysis.benchmark import markdown_table


def test_a_line_for_the_head_and_each_row():
    assert markdown_table(["a", "b"], [[1, "x"], [2.5, "y"]]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 1 | x |",
        "| 2.5 | y |",
    ]
