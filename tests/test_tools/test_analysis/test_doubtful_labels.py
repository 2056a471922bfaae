import csv
import json
import re

import pytest
import torch
from mmengine.config import Config

from mmseg_fsr.analysis import label_scorers
from mmseg_fsr.analysis.label_rows import COLUMNS, KINDS
from mmseg_fsr.apis import init_model
from tests.support.project_files import load_tool

CLASSES = ("ball", "crate", "fish", "leaf", "starfish")


@pytest.fixture(scope="module")
def tool():
    return load_tool("analysis/doubtful_labels")


@pytest.fixture
def knowing(monkeypatch, project):
    """A classifier that knows the true labels; the network draws CAMs alone."""
    truth = json.loads((project / "scenes" / "image_labels.json").read_text())
    calls = []

    def class_probabilities(model, dataset, indices):
        names = dataset.image_names()
        calls.append([names[index] for index in indices])
        shape = len(indices), len(CLASSES)
        labels, probabilities = torch.zeros(shape), torch.full(shape, 0.1)
        for row, index in enumerate(indices):
            labels[row] = torch.tensor(dataset.get_data_info(index)["gt_label"])
            for class_id in truth[names[index]]:
                probabilities[row, class_id - 1] = 0.9
        return labels.numpy(), probabilities.numpy()

    monkeypatch.setattr(label_scorers, "class_probabilities", class_probabilities)
    return calls


@pytest.fixture
def flipped(project, tmp_path):
    """A label file with one label too many and one too few, by image and class."""
    labels = json.loads((project / "scenes" / "image_labels.json").read_text())
    flips = {}
    for name, is_given in (("train_00003", True), ("train_00007", False)):
        ids = [i for i in range(1, 6) if (i in labels[name]) != is_given]
        labels[name] = sorted(set(labels[name]) ^ {ids[0]})
        flips[name, CLASSES[ids[0] - 1]] = is_given
    (tmp_path / "flipped.json").write_text(json.dumps(labels))
    return tmp_path / "flipped.json", flips


@pytest.fixture
def save(tiny, tmp_path):
    """Saves a checkpoint of random weights that was trained on some of the images."""
    weights = init_model(tiny, device="cpu").state_dict()

    def save(name, names=None):
        cfg = Config.fromfile(tiny)
        if names is not None:
            (tmp_path / f"{name}.txt").write_text("\n".join(names))
            cfg.train_dataloader.dataset.ann_file = str(tmp_path / f"{name}.txt")
        meta = dict(cfg=cfg.pretty_text)
        torch.save(dict(meta=meta, state_dict=weights), tmp_path / f"{name}.pth")
        return str(tmp_path / f"{name}.pth")

    return save


def rows_of(folder):
    with (folder / "doubtful_labels.csv").open() as file:
        return list(csv.DictReader(file))


def test_flipped_labels_of_held_out_folds(
    tool, knowing, flipped, save, tiny, tmp_path, capsys
):
    label_file, flips = flipped
    names = [f"train_{i:05d}" for i in range(12)]
    folds = [save("fold_0", names[:6]), save("fold_1", names[6:])]
    out = tmp_path / "out"
    options = f"train_dataloader.dataset.label_file={label_file}"
    arguments = [str(tiny), *folds, "--out", str(out), "--cfg-options", options]
    tool.main(arguments)
    # Each image is scored by the fold that has not seen it.
    assert knowing == [names[6:], names[:6]]

    rows = rows_of(out)
    assert tuple(rows[0]) == COLUMNS
    assert {(row["image"], row["class"]): row["given"] == "1" for row in rows} == flips
    for rank, row in enumerate(rows, start=1):
        assert (row["rank"], row["in_sample"], row["score"]) == (str(rank), "no", "0.1")
        kind = "likely wrong" if row["given"] == "1" else "likely missing"
        assert row["kind"] == kind

    page = (out / "doubtful_labels.html").read_text()
    for (name, class_name), given in flips.items():
        assert f"{name}</h3>" in page
        assert f"{class_name}: {KINDS[given]}" in page
    assert len(re.findall('src="data:image/webp', page)) == 4
    assert "in-sample" not in page
    told = capsys.readouterr().out
    assert "2 doubtful labels of 12 images" in told
    assert "by the classifier. It was not trained on these images.\n" in told

    # A folder of its own is written again, another one is not.
    tool.main([*arguments, "--gallery", "1"])
    assert len(re.findall("<article", (out / "doubtful_labels.html").read_text())) == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    arguments[4] = str(tmp_path / "other")
    with pytest.raises(SystemExit, match="holds files that tools/analysis/doubtful"):
        tool.main(arguments)


@pytest.mark.parametrize("known", [True, False])
def test_in_sample_scores_are_marked(
    tool, knowing, flipped, save, tiny, tmp_path, capsys, known
):
    label_file, flips = flipped
    checkpoint = save("all")
    if not known:
        content = torch.load(checkpoint, weights_only=True)
        torch.save(dict(state_dict=content["state_dict"]), checkpoint)
    options = f"train_dataloader.dataset.label_file={label_file}"
    out = tmp_path / "out"
    tool.main([str(tiny), checkpoint, "--out", str(out), "--cfg-options", options])
    mark = "yes" if known else "unknown"
    assert [row["in_sample"] for row in rows_of(out)] == [mark] * len(flips)
    page = (out / "doubtful_labels.html").read_text()
    assert page.count(f"in-sample: {mark}<") == len(flips)
    told = capsys.readouterr().out
    expected = "Of 12 of 12 images the checkpoints do not tell"
    assert ("It was trained on 12 of 12 images" in told) == known
    assert (expected in told) != known


def test_the_validation_images_by_the_network_itself(tool, save, tiny, tmp_path):
    arguments = [str(tiny), save("all"), "--split", "val", "--out", str(tmp_path / "x")]
    tool.main(arguments)
    marks = [row["in_sample"] for row in rows_of(tmp_path / "x")]
    assert set(marks) == {"no"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "none.txt"], "split file none.txt does not exist"),
        (["--out", "{project}/scenes/JPEGImages"], "--out .* is the folder of"),
        (["--cfg-options", "model.decode_head.align_corners=True"], "another network"),
    ],
)
def test_bad_input(tool, save, tiny, project, tmp_path, arguments, message):
    arguments = [x.format(project=project) for x in arguments]
    if "--out" not in arguments:
        arguments += ["--out", str(tmp_path / "out")]
    index = arguments.index("--out")
    arguments = [*arguments[index:], *arguments[:index]]
    with pytest.raises(SystemExit, match=f"(?s)^error: .*{message}"):
        tool.main([str(tiny), save("all"), *arguments])
    assert not (tmp_path / "out").exists()
