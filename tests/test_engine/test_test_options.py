import pytest
from mmengine.config import Config

from mmseg_fsr.cli.run_options import enable_crf, enable_tta


def test_the_augmented_model_holds_the_tested_one():
    cfg = Config(
        dict(
            model=dict(type="A"),
            tta_model=dict(type="B", flip=True),
            tta_pipeline=[dict(type="C")],
            test_dataloader=dict(batch_size=1, dataset=dict(pipeline=[])),
        )
    )
    enable_tta(cfg)
    assert cfg.model == dict(type="B", flip=True, module=dict(type="A"))
    dataset = dict(pipeline=[dict(type="C")])
    assert cfg.test_dataloader == dict(batch_size=1, dataset=dataset)


@pytest.mark.parametrize("lacking", ["tta_model", "tta_pipeline", "test_dataloader"])
@pytest.mark.parametrize("removed", [True, False])
def test_what_the_config_lacks_for_augmentation_is_named(lacking, removed):
    settings = dict(tta_model=dict(type="B"), tta_pipeline=[], test_dataloader={})
    settings[lacking] = None
    if removed:
        del settings[lacking]
    with pytest.raises(ValueError, match=f"--tta needs {lacking} in the config"):
        enable_tta(Config(settings))


def test_the_loop_is_replaced_and_its_settings_stay():
    crf = dict(type="PyDenseCRF", num_workers=3)
    cfg = Config(dict(crf=crf, test_cfg=dict(type="TestLoop", fp16=True)))
    for _ in range(2):
        enable_crf(cfg)
        assert cfg.test_cfg == dict(type="DenseCRFTestLoop", fp16=True, crf=crf)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(test_cfg=dict(type="TestLoop")), r"--crf needs crf in the config"),
        (dict(crf=dict(type="DenseCRF")), r"--crf needs test_cfg in the config"),
        (
            dict(crf=dict(type="DenseCRF"), test_cfg=dict(type="OtherLoop")),
            r"--crf replaces mmengine's TestLoop, but test_cfg\.type .* is OtherLoop",
        ),
    ],
)
def test_a_config_that_it_does_not_fit_is_told(settings, message):
    with pytest.raises(ValueError, match=message):
        enable_crf(Config(settings))
