import json

import pytest

from mmseg_fsr.ablation import ResultFile, markdown_page, planned_runs, read_table
from tests.support.made_up_ablation import TABLE, record, write_table
from tests.support.project_files import CONFIGS, ROOT


@pytest.fixture
def table(tmp_path):
    return read_table(write_table(tmp_path, TABLE + "notes: What was tried.\n"))


def scored(row, *values):
    return [
        record(row, seed, **{"mIoU": value, "cam/mIoU": 2 * value})
        for seed, value in zip((0, 7), values, strict=False)
    ]


def test_rows_claims_and_runs(table):
    records = [*scored("with", 30.0, 31.0), *scored("without it", 28.0, 29.5)]
    records[-1]["machine"] = dict(processor="other")
    page = markdown_page([(table, records)])
    assert page.startswith("# Ablations\n")
    for part in (
        "\n## A title\n\nWhat it is.\n\n",
        "|  | seeds | prediction | seeds |\n",
        "| with | 2 | 30.50 ± 0.71 | 61.00 ± 1.41 |\n",
        "| without it | 2 | 28.75 ± 1.06 | 57.50 ± 2.12 |\n",
        "| claim | measured | difference | seeds | verdict |\n",
        "| It helps | prediction: with against without it | +1.75 ± 0.35 | 2 "
        "| not told apart |\n",
        "\nWhat was tried.\n",
        "| with | `base.py` | 7 | 4 | 7 x 9 | abc | 2 min | 1 |\n",
        "| without it | `other.py` | 7 | 4 | 7 x 9 | abc | 2 min | 2 |\n",
        "\n1. processor abacus, cpus 2\n2. processor other\n",
        "```\ntrain_cfg.max_iters: 4\nmodel.size: [8, 8]\nwithout it:\n",
        "\n  model.part: None\n```",
    ):
        assert part in page


def test_what_did_not_run_is_not_there(table):
    page = markdown_page([(table, scored("with", 30.0))])
    assert "| with | 1 | 30.00 | 60.00 |\n" in page
    assert "without it" not in page
    assert "It helps" not in page
    assert "None of its rows has run." in markdown_page([(table, [])])


def test_the_project_s_page_is_what_its_results_say():
    path = ROOT / "docs" / "ablations.json"
    records = json.loads(path.read_text())
    results = ResultFile(path)
    tables, found = [], []
    for name in dict.fromkeys(entry["table"] for entry in records):
        table = read_table(CONFIGS / "ablations" / f"{name}.yaml")
        of_table = [results.find(run.key) for run in planned_runs(table)]
        tables.append((table, [entry for entry in of_table if entry is not None]))
        found += tables[-1][1]
    # None is of options that the tables no longer have.
    assert len(found) == len(records) > 0
    assert (ROOT / "docs" / "ablations.md").read_text() == markdown_page(tables)
