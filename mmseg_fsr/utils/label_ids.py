"""Ids with a meaning of their own in label maps and labels; class k is k + 1."""

BACKGROUND = 0
# Pixels that are undecided or do not count.
IGNORE_INDEX = 255
MAX_FOREGROUND = IGNORE_INDEX - 1
# Image label, beside 0 and 1, of a class that nobody looked for.
UNKNOWN = -1


def check_id_settings(
    title: str, reduce_zero_label: bool = False, ignore_index: int = IGNORE_INDEX
) -> None:
    """Refuses settings of mmseg that give ids another meaning.

    Args:
        title: What has the settings, for the message.
        reduce_zero_label: Whether mmseg would ignore id 0 and lower the others by one.
            Defaults to False.
        ignore_index: Id of pixels that do not count. Defaults to 255.

    Raises:
        ValueError: If one of them is not its default.
    """
    if reduce_zero_label:
        raise ValueError(
            f"{title} has reduce_zero_label=True, which would score each class as the "
            f"next one: here id {BACKGROUND} of a mask is the background and class k "
            f"is k + 1. Set reduce_zero_label=False; where id {BACKGROUND} means "
            f"unlabelled, write {IGNORE_INDEX} into the masks instead"
        )
    if ignore_index != IGNORE_INDEX:
        raise ValueError(
            f"{title} has ignore_index={ignore_index}: pixels that do not count have "
            f"id {IGNORE_INDEX} here, in masks and pseudo labels. Leave ignore_index "
            f"out, and write {IGNORE_INDEX} into masks that have another id for them"
        )


def check_num_foreground(title: str, num_foreground: int) -> None:
    """Refuses more foreground classes than label maps of 8 bits can tell apart.

    Args:
        title: The setting that gives the number, for the message.
        num_foreground: Number of classes without the background.

    Raises:
        ValueError: If there are more than 254.
    """
    if num_foreground > MAX_FOREGROUND:
        raise ValueError(
            f"{title}: {num_foreground} foreground classes, but masks and pseudo "
            f"labels of 8 bits tell {MAX_FOREGROUND} apart, as {BACKGROUND} is the "
            f"background and {IGNORE_INDEX} does not count: leave out or merge classes"
        )
