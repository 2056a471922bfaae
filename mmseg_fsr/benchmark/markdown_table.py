"""Figures as a table."""

from collections.abc import Sequence


def markdown_table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table.

    Args:
        head: Names of the columns.
        rows: Their cells, as many in each row.

    Returns:
        Lines without a final newline.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)
