from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import RUNNERS

from mmseg_fsr.cli.runner import build_runner
from mmseg_fsr.engine import ShortConsoleRunner
from tests.support.project_files import load_config


def test_the_config_names_the_runner(monkeypatch):
    built = []
    monkeypatch.setattr(
        Runner, "from_cfg", classmethod(lambda cls, cfg: built.append(cls))
    )
    build_runner(Config(dict(runner_type="ShortConsoleRunner")))
    build_runner(Config(dict(runner_type="Runner")))
    build_runner(Config())
    assert built == [ShortConsoleRunner, Runner, Runner]


def test_configs_of_the_project_have_a_short_console():
    for name in ("fsr_vit-b_voc", "fsr_vit-t_scenes"):
        runner_type = load_config(name).runner_type
        assert RUNNERS.get(runner_type) is ShortConsoleRunner
