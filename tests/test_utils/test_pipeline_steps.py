import copy

from mmseg_fsr.utils.pipeline_steps import (
    map_steps,
    with_image_labels,
    without_annotations,
)
from tests.support.project_files import load_config

LOAD, MASK, PACK = (
    dict(type=name)
    for name in ("LoadImageFromFile", "LoadAnnotations", "PackSegInputs")
)
FLIPS = [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)]


def test_annotations_are_left_out_at_any_depth():
    tta = dict(type="TestTimeAug", transforms=[FLIPS, [MASK], [PACK]])
    pipeline = [LOAD, MASK, tta]
    assert without_annotations(pipeline) == [
        LOAD,
        dict(type="TestTimeAug", transforms=[FLIPS, [PACK]]),
    ]
    assert tta["transforms"] == [FLIPS, [MASK], [PACK]]
    assert pipeline == [LOAD, MASK, tta]


def test_steps_are_changed_in_copies():
    pipeline = [LOAD, dict(type="TestTimeAug", transforms=[[PACK]])]

    def rename(step):
        step["type"] = step["type"].upper()
        return step

    assert map_steps(pipeline, rename) == [
        dict(type="LOADIMAGEFROMFILE"),
        dict(type="TESTTIMEAUG", transforms=[[dict(type="PACKSEGINPUTS")]]),
    ]
    assert PACK["type"] == "PackSegInputs"


def types(pipeline):
    return [
        types(step) if isinstance(step, list) else step["type"] for step in pipeline
    ]


def test_a_pipeline_carries_labels_and_loads_no_masks():
    cfg = load_config("fsr_vit-t_scenes")
    before = copy.deepcopy(cfg.test_pipeline)
    pipeline = with_image_labels(cfg.test_pipeline)
    assert types(pipeline) == [
        "LoadImageFromFile",
        "ScaleTo8Bit",
        "Resize",
        "PackImageLabelSegInputs",
    ]
    assert pipeline[2]["scale"] == (96, 96)
    assert cfg.test_pipeline == before


def test_so_does_that_of_augmented_tests():
    cfg = load_config("fsr_vit-t_scenes")
    load, depth, augment = with_image_labels(cfg.tta_pipeline)
    assert types([load, depth]) == ["LoadImageFromFile", "ScaleTo8Bit"]
    assert types(augment["transforms"]) == [
        ["Resize"] * 3,
        ["RandomFlip"] * 2,
        ["PackImageLabelSegInputs"],
    ]
