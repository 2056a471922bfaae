"""Hooks of MkDocs: the README as first page, and a page of the API for each package."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = Path("mmseg_fsr")


def on_config(config: MkDocsConfig) -> None:
    """Lists the pages of the API in the navigation, where it says ``API: []``."""
    reference = next(x["Reference"] for x in config.nav if "Reference" in x)
    api = next(x for x in reference if "API" in x)
    api["API"] = [
        {_dotted(folder).removeprefix(f"{PACKAGE}."): _page(folder)}
        for folder in _packages()
    ]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds the pages that are no files of ``docs/``."""
    readme = Path("README.md").read_text().replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=readme))
    for folder in _packages():
        content = f"# {_dotted(folder)}\n\n::: {_dotted(folder)}\n"
        content += "    options: {members: false, show_root_heading: false}\n"
        for module in _public_modules(folder):
            content += f"\n::: {_dotted(module.with_suffix(''))}\n"
        files.append(File.generated(config, _page(folder), content=content))


def on_page_markdown(markdown: str, **kwargs: object) -> str:
    """Has Markdown within ``<details>`` rendered, and links to the README work."""
    markdown = markdown.replace("](../README.md", "](index.md")
    return markdown.replace("<details>", '<details markdown="1">')


def _packages() -> list[Path]:
    """The package's folders that have public modules."""
    folders = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
    return [folder for folder in folders if _public_modules(folder)]


def _public_modules(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.py")) if path.stem[0] != "_"]


def _dotted(path: Path) -> str:
    return ".".join(path.parts)


def _page(folder: Path) -> str:
    return f"reference/{_dotted(folder)}.md"
