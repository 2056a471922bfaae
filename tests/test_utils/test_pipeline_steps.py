from mmseg_fsr.utils.pipeline_steps import map_steps, without_annotations

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
