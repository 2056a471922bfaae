"""Changes of the transforms of a pipeline, those of test-time augmentation too."""

from collections.abc import Callable, Sequence

from .nested_dicts import type_name


def map_steps(
    pipeline: Sequence[dict], change: Callable[[dict], dict | None]
) -> list[dict]:
    """Changes or leaves out steps of a pipeline, at any depth.

    Args:
        pipeline: Settings of transforms; some may have ``transforms``, such as
            ``TestTimeAug``, which has lists of them.
        change: Gives what stands for a step, or None to leave it out. It gets a copy
            and may change that.

    Returns:
        The steps. A list that has become empty is left out: TestTimeAug would make no
        version of an image from it.
    """
    steps = []
    for step in pipeline:
        if isinstance(step, list | tuple):
            steps += [inner] if (inner := map_steps(step, change)) else []
        elif (changed := change(dict(step))) is not None:
            if "transforms" in changed:
                changed["transforms"] = map_steps(changed["transforms"], change)
            steps.append(changed)
    return steps


def without_annotations(pipeline: Sequence[dict]) -> list[dict]:
    """Takes the steps that load masks out of a pipeline, at any depth."""
    return map_steps(
        pipeline, lambda step: None if type_name(step) == "LoadAnnotations" else step
    )


def with_image_labels(pipeline: Sequence[dict]) -> list[dict]:
    """Makes a test pipeline carry image labels instead of masks.

    Args:
        pipeline: Steps with mmseg's ``PackSegInputs``; may have ``TestTimeAug``.

    Returns:
        The steps without ``LoadAnnotations``, with ``PackImageLabelSegInputs``.
    """

    def with_labels(step: dict) -> dict:
        if type_name(step) == "PackSegInputs":
            step["type"] = "PackImageLabelSegInputs"
        return step

    return map_steps(without_annotations(pipeline), with_labels)
