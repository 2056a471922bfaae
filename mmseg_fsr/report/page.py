"""The report as one HTML file that needs no other."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_GENERATOR = "mmseg_fsr report"


def is_report(path: Path) -> bool:
    """Whether a file is a page of :func:`render_page`.

    Args:
        path: An existing file.

    Returns:
        Whether its head names this program.
    """
    with path.open("rb") as file:
        return f'content="{_GENERATOR}"'.encode() in file.read(2000)


def render_page(**report: Any) -> str:
    """Fills the page's template.

    Whatever the values hold is shown as text, never run: the template escapes it, and
    the page's content security policy allows its own script alone, by its hash, and
    nothing from any network.

    Args:
        **report: What ``templates/report.html`` names.

    Returns:
        HTML.

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
    return environment.get_template("report.html").render(
        generator=_GENERATOR,
        style=style,
        script=script,
        script_hash=f"sha256-{digest}",
        **report,
    )
