import argparse

import pytest
from mmengine.config import Config
from mmseg.evaluation import IoUMetric

from mmseg_fsr.cli import run_options
from mmseg_fsr.cli.run_options import (
    enable_crf,
    enable_tta,
    leave_cam_metrics_out,
    warn_of_unasked_options,
)
from mmseg_fsr.evaluation.cam_iou_metric import CAMIoUMetric, configured_metrics


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


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_cams_are_made_and_scored_under_augmentation_if_asked_for(asked, nested):
    metrics = [dict(type="IoUMetric"), dict(type="CAMIoUMetric", field="aux_cams")]
    metrics += [dict(type="PseudoLabelIoUMetric"), dict(type="ImageLabelMetric")]
    evaluator = dict(type="DenseCRFEvaluator", metrics=metrics) if nested else metrics
    cfg = Config(
        dict(
            model=dict(type="A", test_cfg=dict(mode="whole", cams=True)),
            tta_model=dict(type="FSRTTAModel"),
            tta_pipeline=[],
            test_dataloader=dict(dataset=dict()),
            test_evaluator=evaluator,
        )
    )
    enable_tta(cfg, cams=asked)
    assert cfg.model.module.test_cfg == dict(mode="whole", cams=asked)
    assert (
        list(configured_metrics(cfg.test_evaluator)) == metrics[: None if asked else 1]
    )
    with pytest.raises(ValueError, match=r"--cams: tta_model\.type='SegTTAModel'"):
        enable_tta(Config(dict(cfg, tta_model=dict(type="SegTTAModel"))), cams=True)
    cfg.model = dict(type="A")
    with pytest.raises(ValueError, match=r"--cams: .* set model\.test_cfg\.cams=True"):
        enable_tta(cfg, cams=True)


@pytest.mark.parametrize("test_cfg", [None, {}, dict(cams=True), dict(cams=False)])
@pytest.mark.parametrize("key", ["val_evaluator", "test_evaluator"])
def test_cams_that_are_not_made_are_not_scored(test_cfg, key, monkeypatch):
    said = []
    monkeypatch.setattr(run_options, "print_log", lambda *args: said.append(args))
    names = ("CAMIoUMetric", "IoUMetric", CAMIoUMetric, IoUMetric, "Misspelt")
    metrics = [dict(type=name) for name in names]
    cfg = Config(dict(model=dict(type="A", test_cfg=test_cfg), **{key: metrics}))
    leave_cam_metrics_out(cfg, key)
    made = test_cfg == dict(cams=True)
    assert cfg[key] == (metrics if made else [metrics[i] for i in (1, 3, 4)])
    assert len(said) == (not made)
    cfg[key] = metrics[:1]
    leave_cam_metrics_out(cfg, key)
    assert cfg[key] == (metrics[:1] if made else [])
    if not made:
        assert said[-1][0].endswith("without CAMIoUMetric, which is all that it has")


@pytest.mark.parametrize("lacking", ["tta_model", "tta_pipeline", "test_dataloader"])
@pytest.mark.parametrize("removed", [True, False])
def test_what_the_config_lacks_for_augmentation_is_named(lacking, removed):
    settings = dict(tta_model=dict(type="B"), tta_pipeline=[], test_dataloader={})
    settings[lacking] = None
    if removed:
        del settings[lacking]
    with pytest.raises(ValueError, match=f"--tta needs {lacking} in the config"):
        enable_tta(Config(settings))


METRICS = [dict(type="IoUMetric"), dict(type="CAMIoUMetric")]
CRF = dict(type="DenseCRF", num_iters=3)


@pytest.mark.parametrize(
    ("evaluator", "metrics"),
    [
        (METRICS[0], METRICS[:1]),
        (METRICS, METRICS),
        (dict(type="Evaluator", metrics=METRICS), METRICS),
        (dict(metrics=METRICS[0]), METRICS[:1]),
        (dict(type="DenseCRFEvaluator", metrics=METRICS), METRICS),
    ],
)
def test_the_crf_refines_what_the_same_metrics_score(evaluator, metrics):
    cfg = Config(dict(crf=CRF, test_evaluator=evaluator))
    enable_crf(cfg)
    expected = dict(type="DenseCRFEvaluator", metrics=metrics, crf=CRF)
    assert cfg.test_evaluator == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(test_evaluator=METRICS), "--crf needs crf in the config"),
        (dict(crf=CRF), "--crf needs test_evaluator in the config"),
        (
            dict(crf=CRF, test_evaluator=dict(type="Other", metrics=METRICS)),
            "--crf replaces mmengine's Evaluator, but test_evaluator .* type Other",
        ),
    ],
)
def test_a_config_that_the_crf_does_not_fit_is_told(settings, message):
    with pytest.raises(ValueError, match=message):
        enable_crf(Config(settings))


@pytest.mark.parametrize(("crf", "tta"), [(True, True), (True, False), (False, False)])
def test_settings_of_what_is_not_asked_for_are_told(monkeypatch, crf, tta):
    said = []
    monkeypatch.setattr(run_options, "print_log", lambda *args: said.append(args[0]))
    options = {"crf.num_iters": 1, "tta_model.type": "X", "tta_pipeline": [], "a": 1}
    warn_of_unasked_options(argparse.Namespace(cfg_options=options, crf=crf, tta=tta))
    told = [] if crf else ["crf.num_iters: without --crf"]
    if not tta:
        told += ["tta_model.type: without --tta", "tta_pipeline: without --tta"]
    assert said == [f"option {line} nothing reads this key" for line in told]
    warn_of_unasked_options(argparse.Namespace(cfg_options=None, crf=crf, tta=tta))
