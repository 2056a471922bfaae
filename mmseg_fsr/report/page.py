"""The report as one HTML file that needs no other file."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_GENERATOR = "mmseg_fsr report"


def is_report(path: Path) -> bool:
    """Whether the head of an existing file says that :func:`render_page` made it."""
    with path.open("rb") as file:
        return f'content="{_GENERATOR}"'.encode() in file.read(2000)


def render_page(
    template: str = "report.html", generator: str = _GENERATOR, **report: Any
) -> str:
    """Fills a page's template with values, and gives its HTML.

    All values are shown as text and never run: the template escapes them. The page's
    content security policy allows only its own script, by its hash, and nothing from
    a network.

    Args:
        template: Name of the template. Defaults to that of the report.
        generator: What the page says made it. Defaults to that of the report, which
            a new one may replace.
        **report: The values that it names.

    Raises:
        jinja2.UndefinedError: If a value that the template names is missing.
    """
    loader = PackageLoader("mmseg_fsr.report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (
        loader.get_source(environment, name)[0] for name in ("report.css", "report.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        generator=generator,
        style=style,
        script=script,
        script_hash=f"sha256-{digest}",
        **report,
    )
