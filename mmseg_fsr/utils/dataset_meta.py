"""Names and colours of the classes in a checkpoint."""

from typing import Any

# What models name and paint the classes by.
_KEPT = ("classes", "palette")


def plain_dataset_meta(meta: object) -> dict[str, Any]:
    """Classes and palette of a checkpoint's ``meta``, as far as it has them.

    Args:
        meta: As :func:`~mmseg_fsr.utils.safe_load.load_checkpoint_file` reads it, of
            any kind.

    Returns:
        ``classes`` and ``palette`` of its ``dataset_meta``, those of text, numbers and
        lists alone.
    """
    found = meta.get("dataset_meta") if isinstance(meta, dict) else None
    found = found if isinstance(found, dict) else {}
    return {key: found[key] for key in _KEPT if _is_plain(found.get(key))}


def _is_plain(value: object) -> bool:
    """Whether a value is text, a number or a list of such."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float)
