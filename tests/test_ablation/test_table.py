import pytest
from mmseg.registry import MODELS

from mmseg_fsr.ablation import Claim, Row, planned_runs, read_table
from tests.support.made_up_ablation import TABLE, write_table
from tests.support.meta_device import build_without_memory
from tests.support.project_files import CONFIGS


def test_reads_rows_seeds_and_claims(tmp_path):
    table = read_table(write_table(tmp_path))
    assert (table.name, table.title, table.about) == (
        "made_up", "A title", "What it is.",
    )  # fmt: skip
    assert table.seeds == (0, 7)
    assert table.scores == {"prediction": "mIoU", "seeds": "cam/mIoU"}
    assert table.rows == (
        Row("with", tmp_path / "base.py"),
        Row("without it", tmp_path / "other.py", {"model.part": None}),
    )
    assert table.claims == (Claim("It helps", "with", "without it", "prediction"),)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title: A title", "", r"made_up\.yaml: title is missing"),
        ("title: A title", "title: 3", "title: expected text, got 3"),
        ("title: A title", "titel: A title", "unknown titel; expected .*title"),
        (TABLE, "- a list", "expected keys and values"),
        (TABLE, "a: [", "no YAML"),
        ("seeds: [0, 7]", "seeds: []", "seeds: expected different whole numbers"),
        ("seeds: [0, 7]", "seeds: [7, 7]", "seeds: expected different whole numbers"),
        ("seeds: [0, 7]", "seeds: [0, true]", "seeds: expected different whole"),
        ("seeds: cam/mIoU}", "seeds: 3}", "scores: expected names of scores, got"),
        ("model.part: null", "model.part: 2026-01-01", r"\[1\]: cfg_options: expec"),
        ("max_iters: 4", "max_iters: 2026-01-01", r"yaml: cfg_options: expected numbe"),
        ("seeds: [0, 7]", "seeds: 3", "seeds: expected a list, got 3"),
        ("- name: with\n", "- nam: with\n", r"rows\[0\]: unknown nam"),
        ("name: with\n", "name: without it\n", "each with its own name"),
        ("config: base.py", "", r"rows\[0\]: config: expected a path, got None"),
        ("{model.part: null}", "[1]", r"rows\[1\]: cfg_options: expected keys"),
        ("better: with,", "better: it,", r"claim 'It helps': no 'it' among \['with'"),
        ("score: prediction", "score: mIoU", "no 'mIoU' among .'prediction'"),
        ("{claim: It helps,", "{", r"claims\[0\]: claim is missing"),
        ("title: A title", "title: !!python/name:os.getcwd", "no YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, words):
    assert old in TABLE
    with pytest.raises(ValueError, match=words):
        read_table(write_table(tmp_path, TABLE.replace(old, new)))


def test_missing_files_are_named(tmp_path):
    path = write_table(tmp_path, TABLE.replace("other.py", "another.py"))
    with pytest.raises(
        FileNotFoundError, match=r"rows\[1\]: config not found: .*anoth"
    ):
        read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "nothing.yaml")


# Parts that are built on their own, whatever else the model has.
PARTS = ("mask_generator", "pseudo_label_generator", "loss_energy")
TABLES = sorted((CONFIGS / "ablations").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_tables_of_the_project(path):
    table = read_table(path)
    assert len(table.seeds) >= 3
    assert table.claims
    built = []
    for run in planned_runs(table, seeds=[0]):
        cfg = run.read_config()
        assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
        for part in PARTS:
            if cfg.model.get(part):
                MODELS.build(cfg.model[part])
        # Models that differ in these parts only are built once.
        rest = cfg.model.to_dict() | {part: bool(cfg.model[part]) for part in PARTS}
        if rest not in built:
            built.append(rest)
            build_without_memory(cfg)
