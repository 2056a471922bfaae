import argparse

import pytest
from mmengine.config import Config

from mmseg_fsr.cli import arguments
from mmseg_fsr.cli.arguments import (
    add_common_arguments,
    build_val_dataset,
    collecting_problems,
    exit_with,
    merge_options,
    positive_int,
    require_new,
    runner_config,
)


def test_hooks_of_a_list_are_addressed_by_their_type():
    hooks = [dict(type="EMATeacherHook", momentum=0.9), dict(type="Other", a=1)]
    cfg = Config(dict(custom_hooks=hooks, model=dict(custom_hooks=dict(x=1))))
    merge_options(
        cfg,
        {
            "custom_hooks.EMATeacherHook.momentum": 0.99,
            "custom_hooks.1.a": 2,
            "model.custom_hooks.x": 3,
        },
    )
    assert cfg.custom_hooks == [hooks[0] | dict(momentum=0.99), dict(type="Other", a=2)]
    assert cfg.model.custom_hooks.x == 3
    merge_options(cfg, dict(custom_hooks=[]))
    assert cfg.custom_hooks == []
    merge_options(cfg, None)


def test_hooks_of_a_list_are_removed():
    hooks = [dict(type=name) for name in "ABC"]
    cfg = Config(dict(custom_hooks=hooks))
    merge_options(cfg, {"custom_hooks.A": None, "custom_hooks.1": None})
    assert cfg.custom_hooks == hooks[2:]
    with pytest.raises(ValueError, match="custom_hooks has no A, but C;"):
        merge_options(cfg, {"custom_hooks.A": None})


@pytest.mark.parametrize("value", ["dict(type='A')", ["dict(type='A')"], "{'a': 1}"])
def test_the_text_of_a_dict_is_no_value(value):
    message = r"evaluator: .* would be read as text: .* evaluator\.KEY=VALUE, or write"
    with pytest.raises(ValueError, match=message):
        merge_options(Config(dict(evaluator=[])), dict(evaluator=value))


@pytest.mark.parametrize(
    ("settings", "there"),
    [({}, "nothing"), (dict(custom_hooks=[dict(type="A"), dict(type="B")]), "A, B")],
)
def test_a_hook_that_is_not_there_is_told(settings, there):
    for hook in ("EMA", "2"):
        message = f"custom_hooks.{hook}.a: custom_hooks has no {hook}, but {there};"
        with pytest.raises(ValueError, match=message):
            merge_options(Config(settings), {f"custom_hooks.{hook}.a": 0.9})


@pytest.mark.parametrize(
    ("argument", "in_config", "expected"),
    [
        ("given", "configured", "given"),
        (None, "configured", "configured"),
        (None, None, "work_dirs/tiny"),
    ],
)
def test_work_dir_priority(tmp_path, monkeypatch, argument, in_config, expected):
    monkeypatch.setenv("LOCAL_RANK", "0")
    config = tmp_path / "tiny.py"
    config.write_text(f"work_dir = {in_config!r}\na = dict(b=1)\n")
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    add_common_arguments(parser)
    options = ["--work-dir", argument] if argument else []
    args = parser.parse_args([str(config), "--cfg-options", "a.b=2", *options])
    cfg = runner_config(args)
    assert (cfg.work_dir, cfg.launcher, cfg.a.b) == (expected, "none", 2)


def test_default_hooks_of_ours_are_removed_like_those_of_mmengine(tmp_path):
    config = tmp_path / "a.py"
    hooks = dict(logger=None, step_seed=None, timer=dict(type="IterTimerHook"))
    config.write_text(f"default_hooks = {hooks}\n")
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    add_common_arguments(parser)
    args = parser.parse_args([str(config), "--work-dir", str(tmp_path / "work")])
    # mmengine leaves out its own.
    del hooks["step_seed"]
    assert runner_config(args).default_hooks == hooks


@pytest.mark.parametrize("scope", ["", "mmseg."])
def test_a_hook_that_would_act_twice_is_refused(tmp_path, scope):
    config = tmp_path / "tiny.py"
    config.write_text(
        "default_hooks = dict(guard=dict(type='Guard'), none=None)\n"
        f"custom_hooks = [dict(type='Mine'), dict(type='{scope}Guard')]\n"
    )
    args = argparse.Namespace(config=str(config), cfg_options=None, local_rank=0)
    args.launcher, args.work_dir = "none", None
    with pytest.raises(ValueError, match=r"Guard is in .*default_hooks\.guard: remove"):
        runner_config(args)


def test_a_misspelled_setting_of_the_file_is_warned_of(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(arguments, "print_log", lambda *args: lines.append(args[0]))
    config = tmp_path / "own.py"
    config.write_text("train_dataloader = dict(num_wokers=2)\n")
    args = argparse.Namespace(config=str(config), cfg_options=None, local_rank=0)
    args.launcher, args.work_dir = "none", str(tmp_path / "work")
    runner_config(args)
    (line,) = lines
    assert line.startswith(f"config {config}: train_dataloader.num_wokers: nothing")


def test_a_config_without_validation_names_no_images():
    with pytest.raises(ValueError, match="has no val_dataloader: it names no images"):
        build_val_dataset(Config(dict(val_dataloader=None)))


def test_numbers_from_one_on():
    assert positive_int("3") == 3
    for text in ("0", "-1", "x"):
        with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
            positive_int(text)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_read_is_not_written(tmp_path, overwrite):
    source, link = tmp_path / "in" / "a.pth", tmp_path / "b.pth"
    source.parent.mkdir()
    source.touch()
    link.symlink_to(source)
    new = tmp_path / "new.pth"
    require_new(new, overwrite, [source, "https://example.org/a.pth"])
    for path, inputs in ((source, [link]), (link, [source]), (source, [tmp_path])):
        with pytest.raises(FileExistsError, match="which is read: name another file"):
            require_new(path, overwrite, [new, *inputs])
    with pytest.raises(IsADirectoryError, match="is a folder: name a file"):
        require_new(source.parent, overwrite)


def test_other_files_are_replaced_on_request(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(FileExistsError, match="a exists: replace it with --overwrite"):
        require_new(tmp_path / "a", overwrite=False)
    require_new(tmp_path / "a", overwrite=True)


def test_problems_end_the_program_at_its_end(capsys):
    problems = []
    exit_with(problems)
    for error in (ValueError("one"), OSError("two"), ValueError("three")):
        with collecting_problems(problems):
            raise error
    with pytest.raises(SystemExit) as ended:
        exit_with(problems, shown=2)
    assert ended.value.code == "problems: 3, shown: 2"
    assert capsys.readouterr().err == "error: one\nerror: two\n"
    with pytest.raises(TypeError), collecting_problems(problems):
        raise TypeError
