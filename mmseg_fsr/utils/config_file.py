"""Config files: reading one, and the keys that it must have."""

from pathlib import Path

from mmengine.config import Config

# Errors that say what is wrong without their type.
_SPEAKING = (ValueError, TypeError, OSError, ImportError)


def load_config(path: str | Path) -> Config:
    """Reads a config file as ``Config.fromfile`` does.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its code, or that of its ``_base_``, cannot be run; names file,
            error and, of what is no Python, the line.
    """
    try:
        return Config.fromfile(path)
    except SyntaxError as error:
        # MMEngine does not tell the compiler which file a text is of.
        text = Path(path).read_text(encoding="utf-8")
        try:
            compile(text, str(path), "exec")
        except SyntaxError:
            where = f"config {path}"
        else:
            where = f"a file of config {path}'s _base_"
        code = f": {error.text.strip()}" if error.text else ""
        raise ValueError(f"{where}, line {error.lineno}: {error.msg}{code}") from error
    # A config is a program, which may raise anything.
    except Exception as error:
        if not Path(path).exists():
            raise
        kind = "" if isinstance(error, _SPEAKING) else f"{type(error).__name__}: "
        raise ValueError(f"config {path} cannot be read: {kind}{error}") from error


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
