"""What a resumed run takes from its checkpoint, whatever its config says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# What schedulers count or keep, beside their settings.
_PROGRESS = {
    *("last_step", "_last_value", "_global_step", "base_values", "verbose"),
    # Of ReduceOnPlateauLR.
    *("best", "num_bad_epochs", "cooldown_counter"),
}


def ignored_settings(
    checkpoint: Mapping[str, Any], optimizer: Mapping[str, Any], schedulers: Sequence
) -> list[str]:
    """Settings of optimiser and schedules that differ from those of a checkpoint.

    mmengine replaces all of them by the checkpoint's when it resumes a run.

    Args:
        checkpoint: The checkpoint, with mmengine's keys; those that it lacks pass.
        optimizer: State of the optimiser wrapper that the config asks for, with the
            initial values that its schedulers have noted.
        schedulers: The schedulers that the config asks for.

    Returns:
        A line for each setting, with the checkpoint's value and the config's.

    Raises:
        ValueError: If the checkpoint's optimiser is of another kind.
    """
    theirs, ours = (
        [_initial_values(group) for group in state.get("param_groups", ())]
        for state in (checkpoint.get("optimizer") or {}, optimizer)
    )
    title = "optim_wrapper.optimizer"
    other = _other_kind(theirs[0], ours[0]) if theirs and ours else None
    if other is not None and ours[0].keys() - theirs[0].keys():
        raise ValueError(
            f"{title}: the checkpoint's is {other}, from whose state this one cannot "
            "go on: set it back, or begin anew from the checkpoint's weights: "
            "load_from, without --resume, in another work directory (docs/resume.md)"
        )
    lines = list(_differences(title, theirs, ours))
    states = checkpoint.get("param_schedulers")
    # A dict of several optimisers' lists is not compared.
    if not isinstance(states, Sequence):
        return lines
    if len(states) != len(schedulers):
        lines.append(
            f"param_scheduler: {len(states)} schedules (config: {len(schedulers)})"
        )
    for i, (state, scheduler) in enumerate(zip(states, schedulers, strict=False)):
        name = f"param_scheduler.{i} ({type(scheduler).__name__})"
        settings = [
            {key: value for key, value in values.items() if key not in _PROGRESS}
            for values in (state, scheduler.state_dict())
        ]
        other = _other_kind(*settings)
        if other is not None:
            lines.append(f"{name}: {other}; the kind is the config's")
        lines += _differences(name, settings[:1], settings[1:])
    return lines


def last_scheduled_step(checkpoint: Mapping[str, Any]) -> int | None:
    """The step at which the last of a checkpoint's schedules ends; None without any."""
    states = checkpoint.get("param_schedulers")
    if not isinstance(states, Sequence) or not states:
        return None
    return max(state["end"] for state in states)


def _initial_values(group: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a parameter group, as they were before any schedule."""
    return {
        key: group.get(f"initial_{key}", value)
        for key, value in group.items()
        if key != "params" and not key.startswith("initial_")
    }


def _differences(
    title: str, theirs: Sequence[Mapping], ours: Sequence[Mapping]
) -> Iterator[str]:
    """A line for each key that both have and whose values differ in any group."""
    shared = set.intersection(*map(set, (*theirs, *ours))) if theirs and ours else ()
    for key in sorted(shared):
        values = [[group[key] for group in groups] for groups in (theirs, ours)]
        if values[0] != values[1]:
            their, our = (", ".join(dict.fromkeys(map(str, part))) for part in values)
            yield f"{title}: {key} {their} (config: {our})"


def _other_kind(theirs: Mapping, ours: Mapping) -> str | None:
    """Says which settings tell two kinds apart; None if all of ``theirs`` are known."""
    their = ", ".join(sorted(theirs.keys() - ours.keys()))
    our = ", ".join(sorted(ours.keys() - theirs.keys()))
    return f"a kind with {their} (config: {our or 'without'})" if their else None
