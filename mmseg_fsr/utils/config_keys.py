"""Keys that a config must have for what is asked of it."""

from mmengine.config import Config


def require_keys(cfg: Config, what: str, *keys: str) -> None:
    """Refuses what the config does not describe.

    Args:
        cfg: The config.
        what: What needs the keys, such as ``--tta``, for the message.
        *keys: Top-level keys of the config.

    Raises:
        ValueError: If keys are missing or None; names them.
    """
    missing = [key for key in keys if cfg.get(key) is None]
    if missing:
        raise ValueError(
            f"{what} needs {', '.join(missing)} in the config {cfg.filename}"
        )
