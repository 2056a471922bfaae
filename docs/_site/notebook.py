"""Writes the tutorial as a notebook: python docs/_site/notebook.py."""

import re
from pathlib import Path

import jupytext
from nbformat import NotebookNode, write
from nbformat.v4 import new_code_cell

PAGE = Path(__file__).parents[1] / "tutorial.md"
KERNEL = dict(name="python3", language="python", display_name="Python 3")


def notebook_of(page: str) -> NotebookNode:
    """The notebook of a page.

    Args:
        page: Markdown. A block of Python or Bash becomes a cell that runs it; a config
            one that writes the file named last before it.

    Returns:
        The notebook, whose cells run in the project's folder.
    """
    notebook = jupytext.reads(page, "md")
    named = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            named = (re.findall(r"`(configs/[\w./-]+\.py)`", cell.source) or [named])[
                -1
            ]
            # Links of the page are relative to it, as the notebook's are.
        elif cell.source.startswith("_base_"):
            cell.source = f"%%writefile {named}\n{cell.source}"
    notebook.cells.insert(1, new_code_cell("%cd .."))
    for number, cell in enumerate(notebook.cells):
        # Random otherwise: the file would change each time.
        cell.id = f"cell-{number}"
    notebook.metadata = NotebookNode(kernelspec=NotebookNode(KERNEL))
    return notebook


if __name__ == "__main__":
    write(notebook_of(PAGE.read_text()), PAGE.with_suffix(".ipynb"))
