from types import SimpleNamespace

import pytest

from mmseg_fsr.engine.hooks import ConsoleHook, console_hook


@pytest.mark.parametrize(
    ("images", "interval", "told"),
    [
        # Every 10 images at most, of a training that is logged every 4 steps.
        (200, 4, [10 * k for k in range(1, 21)]),
        (90, 50, [50, 90]),
        (3, 50, [3]),
        (41, 1, [*range(3, 41, 3), 41]),
    ],
)
def test_validation_tells_its_progress_in_few_lines(
    images, interval, told, monkeypatch
):
    monkeypatch.setattr(console_hook, "logging_interval", lambda _: interval)
    lines = []
    runner = SimpleNamespace(
        val_loop=SimpleNamespace(dataloader=range(images)),
        message_hub=SimpleNamespace(runtime_info={}),
        logger=SimpleNamespace(info=lambda line, extra: lines.append(line)),
    )
    hook = ConsoleHook()
    for i in range(images):
        hook.after_val_iter(runner, i)
    width = len(str(images))
    assert lines == [f"validation {done:>{width}}/{images}" for done in told]
