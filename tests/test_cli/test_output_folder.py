import pytest
from mmengine.config import Config

from mmseg_fsr.cli.output_folder import (
    mark_folder,
    metric_folders,
    refuse_data_folder,
    require_own_folder,
    require_own_work_dir,
)

TOOL = "tools/test.py"

# ------------------------------------------------------------ folders of a tool


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


def require(folder, tool=TOOL, overwrite=False):
    require_own_folder("--out", folder, tool, overwrite)


def test_new_empty_and_own_folders_are_filled(folder):
    require(folder)
    folder.mkdir()
    (folder / ".hidden").touch()
    require(folder)
    mark_folder(folder, TOOL)
    (folder / "a.png").touch()
    require(folder)
    mark_folder(folder / "deep" / "er", TOOL)
    require(folder / "deep" / "er")


@pytest.mark.parametrize("mark", [None, "tools/other.py"])
def test_other_files_need_to_be_overwritten_by_request(folder, mark):
    folder.mkdir()
    if mark:
        mark_folder(folder, mark)
    for name in ("b.png", "a.png"):
        (folder / name).touch()
    with pytest.raises(FileExistsError) as caught:
        require(folder)
    for words in (f"--out {folder} holds", TOOL, "such as a.png", "--overwrite"):
        assert words in str(caught.value)
    require(folder, overwrite=True)
    mark_folder(folder, TOOL)
    require(folder)


def test_nothing_is_written_through_links(folder, tmp_path):
    folder.mkdir()
    (tmp_path / "mask.png").touch()
    (folder / "a.png").symlink_to(tmp_path / "mask.png")
    with pytest.raises(FileExistsError, match=r"holds links, such as a\.png"):
        require(folder, overwrite=True)


def test_a_file_is_no_folder(folder):
    folder.touch()
    with pytest.raises(NotADirectoryError, match="is a file: name a folder"):
        require(folder, overwrite=True)


# ----------------------------------------------------------- a config's own data

DATASET = dict(
    data_root="data",
    ann_file="a.txt",
    data_prefix=dict(img_path="images", seg_map_path="masks"),
)


def refuse(path, root, dataset=DATASET, loader="val_dataloader"):
    cfg = Config({loader: dict(dataset=dict(dataset, data_root=str(root / "data")))})
    refuse_data_folder("--out", root / path, cfg)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("data", "data_root"),
        ("data/images", "data_prefix.img_path"),
        ("data/masks/", "data_prefix.seg_map_path"),
        ("data/../data/masks/sub", "data_prefix.seg_map_path"),
    ],
)
@pytest.mark.parametrize("loader", ["train_dataloader", "test_dataloader"])
def test_folders_of_the_data_are_not_written_to(tmp_path, path, key, loader):
    message = rf"--out .* the folder of {loader}\.dataset\.{key}, from"
    with pytest.raises(ValueError, match=message):
        refuse(path, tmp_path, loader=loader)


def test_links_to_the_data_are_followed(tmp_path):
    (tmp_path / "data" / "masks").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data" / "masks")
    with pytest.raises(ValueError, match="seg_map_path"):
        refuse("link", tmp_path)


@pytest.mark.parametrize("path", ["data/labels", "data/masks2", "work", "."])
def test_other_folders_are_free(tmp_path, path):
    refuse(path, tmp_path)


def test_below_the_root_images_are_listed_or_all_there_are(tmp_path):
    prefix = dict(img_path="")
    refuse("data/out", tmp_path, dict(ann_file="a.txt", data_prefix=prefix))
    with pytest.raises(ValueError, match=r"is within the folder of .*img_path"):
        refuse("data/out", tmp_path, dict(ann_file="", data_prefix=prefix))


def test_wrapped_data_sets_are_found(tmp_path):
    inner = dict(DATASET, data_root=str(tmp_path))
    for wrapper in (dict(dataset=inner), dict(datasets=[{}, inner])):
        cfg = Config(dict(train_dataloader=dict(dataset=wrapper), val_dataloader=None))
        with pytest.raises(ValueError, match=r"dataset\.datasets?\S*\.img_path"):
            refuse_data_folder("--out", tmp_path / "images", cfg)


def test_data_without_folders_claim_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prefix = dict(img_path="", seg_map_path=None)
    cfg = Config(dict(val_dataloader=dict(dataset=dict(data_prefix=prefix))))
    refuse_data_folder("--out", ".", cfg)


# ------------------------------------------------------------- work directories

BY_HAND = (
    "_base_ = []\na = 1\n",
    "a = 1\nb = 2  # why\n",
    "b = 1\na = 2\n",
    "a = 1\nb = [a]\na += b[0]\n",
)


def read(path, work_dir):
    cfg = Config.fromfile(path)
    cfg.work_dir = str(work_dir)
    return cfg


@pytest.mark.parametrize("text", BY_HAND)
def test_a_config_by_hand_is_not_replaced(tmp_path, text):
    own, other = tmp_path / "a.py", tmp_path / "work" / "a.py"
    own.write_text("a = 1\n")
    other.parent.mkdir()
    other.write_text(text)
    # Read, read as a base, or of another run.
    with pytest.raises(FileExistsError, match=r"a\.py would be replaced: .*--work-dir"):
        require_own_work_dir(read(own, other.parent))
    other.unlink()
    require_own_work_dir(read(own, other.parent))
    own.write_text(text)
    other.symlink_to(own)
    with pytest.raises(FileExistsError, match="would be replaced"):
        require_own_work_dir(read(own, other.parent))


def test_a_config_of_an_earlier_run_is_replaced(tmp_path):
    config = tmp_path / "a.py"
    config.write_text("b = dict(c='#', d=(1, 2))  # why\na = [b]\n")
    dump = tmp_path / "work" / "a.py"
    dump.parent.mkdir()
    Config.fromfile(config).dump(dump)
    require_own_work_dir(read(config, dump.parent))
    # Tested or resumed by what the run left.
    require_own_work_dir(read(dump, dump.parent))
    # What Python cannot read is no config that anybody wrote.
    dump.write_text("a = <function x>\n")
    require_own_work_dir(read(config, dump.parent))


def test_a_config_in_json_is_not_replaced_by_itself(tmp_path):
    config = tmp_path / "a.json"
    config.write_text("{}")
    with pytest.raises(FileExistsError, match=r"a\.json would be replaced"):
        require_own_work_dir(read(config, tmp_path))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.json").write_text("{}")
    require_own_work_dir(read(config, tmp_path / "work"))


def test_a_work_directory_among_the_data_is_refused(tmp_path):
    cfg = Config(dict(train_dataloader=dict(dataset=DATASET), work_dir="data/images/x"))
    with pytest.raises(ValueError, match=r"the work directory .*\.img_path"):
        require_own_work_dir(cfg)


def test_metrics_write_no_label_maps_among_the_data(tmp_path):
    metric = dict(type="IoUMetric", output_dir="data/masks")
    cfg = Config(
        dict(
            train_dataloader=dict(dataset=DATASET),
            val_evaluator=dict(type="IoUMetric"),
            test_evaluator=dict(type="Evaluator", metrics=[metric]),
            work_dir=str(tmp_path),
        )
    )
    with pytest.raises(ValueError, match=r"output_dir of IoUMetric in test_eval.*data"):
        require_own_work_dir(cfg)
    assert metric_folders(cfg, "val_evaluator") == {}
