import csv
import random

import pytest

from mmseg_fsr.datasets.label_table import read_label_table

EXPECTED = {"a.jpg": ["cat"], "sub/b.JPG": ["cat", "sea lion"], "c.png": []}


CLASSES = ("background", "cat", "dog", "cow", "sea lion")


def read_rows(tmp_path, text, classes=CLASSES):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_label_table(path, classes)


def read(tmp_path, text, classes=CLASSES):
    rows = read_rows(tmp_path, text, classes)
    assert not any(row.unknown for row in rows.values())
    return {name: row.shown for name, row in rows.items()}


@pytest.mark.parametrize(
    "text",
    [
        # Roboflow's, with a space behind each comma
        "filename, cat, sea lion\na.jpg, 1, 0\nsub/b.JPG, 1, 1\nc.png, 0, 0\n",
        "image;cat;sea lion\na.jpg;1;0\nsub/b.JPG;TRUE;1.0\nc.png;false;0\n",
        "\ufeffimage\tcat\tsea lion\r\na.jpg\t1\t0\r\n"
        "sub/b.JPG\t1\t1\r\nc.png\t0\t0\r\n",
        # a label a cell
        "image,first,second\na.jpg,cat,\nsub/b.JPG,cat,sea lion\nc.png,,\n",
        "a.jpg,cat\nsub/b.JPG,cat,sea lion\nc.png\n",
        'a.jpg|cat|\n\n"sub/b.JPG"|cat|"sea lion"\n\nc.png||\n',
    ],
)
def test_layouts(tmp_path, text):
    assert read(tmp_path, text) == EXPECTED


@pytest.mark.parametrize("header", ["image,labels\n", "", "Name,Tags\n"])
@pytest.mark.parametrize("mark", [";", "|", " ", ", "])
@pytest.mark.parametrize("quoted", [True, False])
def test_labels_of_one_cell(tmp_path, header, mark, quoted):
    cell = f'"cat{mark}dog"' if quoted or mark == ", " else f"cat{mark}dog"
    text = f"{header}a.jpg,{cell}\nb.jpg,cat\nc.jpg,\n"
    labels = {"a.jpg": ["cat", "dog"], "b.jpg": ["cat"], "c.jpg": []}
    assert read(tmp_path, text) == labels


def test_ids_are_labels_and_no_flags(tmp_path):
    assert read(tmp_path, "image,one,two\na,1,3\nb,1,\n") == {
        "a": ["1", "3"],
        "b": ["1"],
    }
    assert read(tmp_path, "image,label\na,1\nb,2\n") == {"a": ["1"], "b": ["2"]}


@pytest.mark.parametrize(
    "text",
    [
        # Only what is shown is filled in.
        "image;cat;dog\na;1;\nb;;1\n",
        "image,cat,dog\na,TRUE,\nb,,true\n",
        "image;cat;dog\na;x;\nb;;X\n",
        "image\tcat\tdog\na\tyes\tno\nb\tNo\tYes\n",
        "sep=;\nimage;cat;dog\na;1;0\nb;0;1\n",
        "image,cat,dog,,\na,1,0,,\nb,0,1,,\n",
        # Classes that the config lacks, all absent here.
        "image,cat,zebra,dog\na,1,0,0\nb,0,0,1\n",
    ],
)
def test_flags_of_the_classes_of_the_data_set(tmp_path, text):
    assert read(tmp_path, text) == {"a": ["cat"], "b": ["dog"]}
    # Without a config any will do.
    assert read(tmp_path, text, ()) == {"a": ["cat"], "b": ["dog"]}


@pytest.mark.parametrize("mark", ["-1", "", "null", "NaN", "-1.0"])
@pytest.mark.parametrize("classes", [CLASSES, ()])
def test_classes_that_nobody_looked_for(tmp_path, mark, classes):
    text = f"image,cat,dog,cow\na,1,{mark},0\nb,{mark},0,{mark}\nc,0,1,0\n"
    rows = read_rows(tmp_path, text, classes)
    assert {name: row[:2] for name, row in rows.items()} == {
        "a": (["cat"], ["dog"]),
        "b": ([], ["cat", "cow"]),
        "c": (["dog"], []),
    }
    assert rows["b"].place.endswith("labels.csv, line 3")


def test_one_class_that_all_images_show(tmp_path):
    assert read(tmp_path, "image,dog\na,1\nb,1\n") == {"a": ["dog"], "b": ["dog"]}


def test_flags_of_other_classes_are_unknown_labels(tmp_path):
    assert read(tmp_path, "image,emu,owl\na,1,0\nb,0,1\n") == {
        "a": ["emu"],
        "b": ["owl"],
    }


def test_a_column_of_labels_beside_others(tmp_path):
    text = "image,fold,label,width\na,1,cat;dog,640\nb,2,,640\n"
    assert read(tmp_path, text) == {"a": ["cat", "dog"], "b": []}


@pytest.mark.parametrize("cell", ["sea lion", '"sea lion"', "sea lion;"])
def test_a_class_with_a_space(tmp_path, cell):
    text = f"image,labels\na,{cell}\nb,cat sea\nc,cat; sea lion\n"
    assert read(tmp_path, text) == {
        "a": ["sea lion"],
        "b": ["cat", "sea"],
        "c": ["cat", "sea lion"],
    }


def test_commas_of_labels_are_no_delimiter(tmp_path):
    assert read(tmp_path, "image;labels\na.jpg;cat,dog\nb.jpg;cat\n") == {
        "a.jpg": ["cat", "dog"],
        "b.jpg": ["cat"],
    }
    both = read(tmp_path, "a.jpg;cat,dog\nb.jpg;cat,cow\n")
    assert both == {"a.jpg": ["cat", "dog"], "b.jpg": ["cat", "cow"]}


def test_any_table_of_flags_that_python_writes(tmp_path):
    numbers = random.Random(0)
    for trial in range(30):
        classes = [f"class {k}, {trial}" for k in range(numbers.randint(1, 6))]
        table = {
            f"image {i}": [numbers.randint(0, 1) for _ in classes] for i in range(9)
        }
        table["image 0"] = [0] * len(classes)
        path = tmp_path / "labels.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter=numbers.choice(",;\t|"))
            writer.writerow(["image", *classes])
            writer.writerows([name, *flags] for name, flags in table.items())
        rows = read_label_table(path, classes)
        assert {name: row.shown for name, row in rows.items()} == {
            name: [x for x, flag in zip(classes, flags, strict=True) if flag]
            for name, flags in table.items()
        }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,cat\na,1\nb,0\na,0\n",
            r"line 4 names image 'a' again: put all its labels",
        ),
        ("image,cat\na,1\nb,0\nc,2\nd,0\n", r"line 4: .* has '2' for 'cat' of the"),
        ("image,x,y\na,cat,2\nb,dog,1\n", "has columns of names and of numbers"),
        ("image,cat,cat\na,1,1\n", "line 2: .* two cells for class 'cat'"),
        ("one,cat\ntwo,dog\n", "'dog' for 'cat' of the header, the first line"),
        ("image,cat\na,1\nb,0\nc,-2\nd,0\n", r"line 4: .* has '-2' for .* or -1 where"),
        ("image,cat,dog\na,1,0\nb,0\n", r"line 3: image 'b' has 1 cells after"),
        ("../a.jpg,cat\nb.jpg,dog\n", r"line 1, .*\.\./a\.jpg"),
        ("image,cat\n", "has a header alone"),
        ("a.jpg\nb.jpg\n", "is no table: expected a name and its labels"),
        ("\n\n", "is no table"),
        (b"image,cat\n\xff,1\n", "is not UTF-8 text"),
        (
            'image,cat\n"a,1\nb,0\n',
            r"is no table: .* \(unexpected end of data, line 3\)",
        ),
    ],
)
def test_mistakes_name_file_and_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, text)
    assert "labels.csv" in str(error.value)


def test_a_class_may_be_called_as_a_column_of_labels(tmp_path):
    classes = ("background", "tag", "cat")
    text = "name,tag,cat\na,1,\nb,,1\nc,1,1\n"
    expected = {"a": ["tag"], "b": ["cat"], "c": ["tag", "cat"]}
    assert read(tmp_path, text, classes) == expected


def test_a_column_of_groups_beside_those_of_classes_is_refused(tmp_path):
    text = "name,class,cat,dog\na,1,0,1\nb,2,1,0\n"
    with pytest.raises(ValueError, match=r"line 3.*'2' for 'class' of the header"):
        read(tmp_path, text)


def test_labels_beyond_the_header_are_not_dropped(tmp_path):
    with pytest.raises(ValueError, match=r"line 2: image 'a' has 3 cells.*has 2: q"):
        read(tmp_path, "name,labels\na,cat,dog\nb,dog\n")


def test_names_with_spaces_are_kept_where_other_cells_have_marks(tmp_path):
    text = 'name,labels\na.jpg,polar bear\nb.jpg,"dog, polar bear"\n'
    expected = {"a.jpg": ["polar bear"], "b.jpg": ["dog", "polar bear"]}
    assert read(tmp_path, text, ()) == expected


def test_a_line_without_a_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="line 3 has no name of an image"):
        read(tmp_path, "image,labels\na,cat\n,dog\nb,dog\n")
