import re

import pytest
from mmengine.runner import Runner
from mmseg.registry import DATA_SAMPLERS, HOOKS, MODELS

import mmseg_fsr.models  # noqa: F401  (registers)
from mmseg_fsr.cli.config_errors import config_sentence


def error_of(build, *arguments):
    with pytest.raises((KeyError, TypeError)) as caught:
        build(*arguments)
    return caught.value


@pytest.mark.parametrize(
    ("build", "settings", "words"),
    [
        (
            MODELS.build,
            dict(type="PTCHead", loss_wieght=1),
            "the config gives PTCHead the argument 'loss_wieght', which it does not "
            "have: did you mean 'loss_weight'\\? Correct the key or remove it$",
        ),
        (
            HOOKS.build,
            dict(type="EMATeacherHook", xyz=1),
            "gives EMATeacherHook the argument 'xyz', which it does not have: Correct",
        ),
        (
            MODELS.build,
            dict(type="CAMHead"),
            "lacks .* CAMHead: 'num_classes' and",
        ),
        (
            MODELS.build,
            dict(type="PTCHed"),
            "type='PTCHed' in the config is not in the mmseg::model registry: correct",
        ),
        # mmseg's base class of heads is in no registry itself; one name has a space.
        (
            MODELS.build,
            dict(type="LargeFOVHead", num_clases=3, in_channels=2),
            "gives BaseDecodeHead the argument 'num_clases', .* mean 'num_classes'",
        ),
        (
            DATA_SAMPLERS.build,
            dict(type="InfSampler"),
            "type='InfSampler' in the config is not in the mmseg::data sampler reg",
        ),
        (
            Runner.build_dataloader,
            dict(dataset=[1, 2], sampler=dict(type="DefaultSampler"), num_wokers=2),
            "gives DataLoader the argument 'num_wokers', .* did you mean 'num_workers'",
        ),
    ],
)
def test_what_mmengine_cannot_build_is_named(build, settings, words):
    assert re.search(words, config_sentence(error_of(build, settings)))


class Inner:
    def __init__(self):
        pass


@pytest.mark.parametrize(
    "error",
    [
        # Of no component: a bug.
        error_of(lambda: Inner(size=1)),
        error_of(lambda: {}["size"]),
        error_of(lambda: len(3)),
        ValueError("PTCHead.__init__() got an unexpected keyword argument 'size'"),
    ],
)
def test_other_errors_are_none_of_the_config(error):
    assert config_sentence(error) is None
