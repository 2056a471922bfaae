"""Pages of the docs: what they link to, their blocks of code, their commands."""

import functools
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.project_files import CONFIGS, ROOT

# Folders that begin with an underscore build the site.
PAGES = [
    ROOT / "README.md",
    *sorted(
        page
        for page in (ROOT / "docs").rglob("*.md")
        if not any(part.startswith("_") for part in page.parts)
    ),
]


class Block(NamedTuple):
    """A block of code: its page, language and text, and what the page says before."""

    page: str
    language: str
    text: str
    before: str


@functools.cache
def all_blocks() -> tuple[Block, ...]:
    """The blocks of all pages."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(r"^ *```(\w*)\n(.*?)^ *```", text, re.M | re.S):
            before = text[: match.start()]
            found.append(Block(page.stem, match[1], match[2], before))
    return tuple(found)


def blocks(language: str, *words: str) -> list[Block]:
    """The blocks of a language in which all the words stand."""
    return [
        block
        for block in all_blocks()
        if block.language == language and all(word in block.text for word in words)
    ]


def block(language: str, *words: str) -> str:
    """The text of the only block of its kind."""
    (found,) = {block.text for block in blocks(language, *words)}
    return found


def table(*titles: str) -> list[list[str]]:
    """Rows of the only table that has these titles, one cell after another."""
    header = f"| {' | '.join(titles)} |\n"
    (found,) = (
        text.split(header)[1] for page in PAGES if header in (text := page.read_text())
    )
    lines = found.split("\n\n")[0].splitlines()[1:]
    return [line.strip("| ").split(" | ") for line in lines]


def rows_with(word: str) -> list[str]:
    """Rows of tables of all pages in which a word stands."""
    lines = (line for page in PAGES for line in page.read_text().splitlines())
    return [line for line in lines if line.startswith("|") and word in line]


# ------------------------------------------------------------------- configs


def is_config(text: str) -> bool:
    """Whether a Python block is a config or a part of one."""
    return text.startswith("_base_") or "import " not in text.replace(
        "custom_import", ""
    )


def shown_configs() -> Iterator[tuple[str, str]]:
    """Path within ``configs/fsr`` and text of each config that a page shows.

    The path is the last one that the page names before; parts of a config, which have
    no ``_base_``, go with the paper's recipe on one GPU.
    """
    for number, shown in enumerate(blocks("python")):
        text = shown.text
        if not is_config(text):
            continue
        named = re.findall(r"`configs/fsr/([\w./-]+\.py)`", shown.before)
        if "_base_" not in text:
            text = f"_base_ = './fsr_vit-b_1xb8_voc.py'\n{text}"
        elif named and not (CONFIGS / named[-1]).exists():
            yield named[-1], text
            continue
        yield f"{shown.page}_{number}.py", text


def write_shown_configs(folder: Path) -> Path:
    """Copies the project's configs, and writes those of the pages beside them.

    Args:
        folder: Gets ``configs/fsr``.

    Returns:
        That folder.
    """
    configs = folder / "configs" / "fsr"
    shutil.copytree(CONFIGS, configs)
    for name, text in shown_configs():
        # timm would download them.
        text = text.replace("pretrained=True", "pretrained=False")
        (configs / name).write_text(text)
    return configs


# ------------------------------------------------------------------ commands


def commands() -> Iterator[tuple[str, list[str]]]:
    """Path within the project and arguments of each call of a tool on the pages.

    A program that starts several processes is left out: ``dist_train.sh CONFIG 8`` is
    ``train.py CONFIG``. What loops go through comes one after another.
    """
    for shown in blocks("bash"):
        text = shown.text.replace("\\\n", " ")
        for line in text.splitlines():
            match = re.search(r"(\S*tools/[\w/]+\.(?:py|sh))(?=\s)(.*)", line)
            if match is None:
                continue
            for rest in _looped(text, match[2]):
                words = shlex.split(rest, comments=True)
                tool = match[1].strip("\"'")
                if "dist_" in tool:
                    number = next(i for i, word in enumerate(words) if word.isdigit())
                    words.pop(number)
                    tool = tool.replace("dist_", "").replace(".sh", ".py")
                yield tool, words


def _looped(text: str, line: str) -> list[str]:
    loop = re.search(r"for (\w+) in ([^;]+);", text)
    if loop is None:
        return [line]
    return [line.replace(f"${loop[1]}", value) for value in loop[2].split()]


def options_of(*words: str) -> list[str]:
    """What follows ``--cfg-options`` in the only command in which the words stand."""
    (found,) = (
        arguments
        for tool, arguments in commands()
        if all(any(word in x for x in (tool, *arguments)) for word in words)
    )
    return found[found.index("--cfg-options") + 1 :]
