"""Reading the text of a config as data: nothing in it is run."""

import ast
from collections.abc import Collection
from typing import Any

# That of a config is some ten thousand characters long.
_MAX_LENGTH = 1_000_000
_NUMBERS = ("inf", "nan")


def read_config_text(text: str, keys: Collection[str]) -> dict[str, Any]:
    r"""Reads values of a config that mmengine has written (``Config.pretty_text``).

    Args:
        text: The text, of any origin. Its values are literals, ``dict(...)``, and names
            of classes and functions.
        keys: Names of the settings that are wanted.

    Returns:
        The values of those that the text has, by name: dicts, lists, tuples and what
        these hold. Names of classes and functions stay text.

    Raises:
        ValueError: If the text is no such config; the message says why.

    Example:
        >>> read_config_text("a = dict(type='BN', eps=1e-5)\nb = torch.float32", "ab")
        {'a': {'type': 'BN', 'eps': 1e-05}, 'b': 'torch.float32'}
    """
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"it has {len(text)} characters, {_MAX_LENGTH} at most")
    try:
        return {
            statement.targets[0].id: _value(statement.value)
            for statement in ast.parse(text).body
            if isinstance(statement, ast.Assign)
            and isinstance(statement.targets[0], ast.Name)
            and statement.targets[0].id in keys
        }
    # Text that nests too deeply fails in one of the last two ways.
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _value(node: ast.expr) -> Any:
    """The value of an expression."""
    if isinstance(node, ast.Tuple | ast.List):
        kind = tuple if isinstance(node, ast.Tuple) else list
        return kind(map(_value, node.elts))
    if isinstance(node, ast.Dict):
        keys = map(ast.literal_eval, node.keys)
        return dict(zip(keys, map(_value, node.values), strict=True))
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "dict":
        return _of_call(node)
    if isinstance(node, ast.Name | ast.Attribute):
        name = ast.unparse(node)
        return float(name) if name in _NUMBERS else name
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        kind = type(node).__name__
        raise ValueError(
            f"line {node.lineno}: expected a value, got a Python {kind}"
        ) from error


def _of_call(node: ast.Call) -> dict[str, Any]:
    """The value of ``dict(key=value, ...)`` or ``dict({...})``."""
    if all(isinstance(part, ast.Dict) for part in node.args) and all(
        word.arg for word in node.keywords
    ):
        values = {word.arg: _value(word.value) for word in node.keywords}
        return dict(*map(_value, node.args), **values)
    raise ValueError(f"line {node.lineno}: expected dict(key=value) or dict({{...}})")
