import json
import re
from html.parser import HTMLParser

import jinja2
import pytest

from mmseg_fsr.report import is_report, render_page
from tests.support.made_up_page import CONFIG, NASTY, made_up_page


class Elements(HTMLParser):
    """The page's elements, and the text of each kind."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text, self.stack = [], {}, []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.stack.append(tag)

    def handle_endtag(self, tag):
        while self.stack and self.stack.pop() != tag:
            pass

    def handle_data(self, data):
        if self.stack:
            self.text[self.stack[-1]] = self.text.get(self.stack[-1], "") + data


@pytest.fixture(scope="module")
def page():
    return made_up_page()


def test_names_and_config_are_text_and_no_markup(page):
    elements = Elements(page)
    assert [tag for tag, _ in elements.found].count("script") == 2
    # Class, run's title, fact and config stand there as they are.
    for tag, text in (
        ("span", NASTY), ("h1", f"run {NASTY}"), ("dd", NASTY), ("pre", CONFIG),
    ):  # fmt: skip
        assert text in elements.text[tag]
    (data,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data)["gallery"]["classes"][3]["name"] == NASTY


def test_the_page_needs_no_other_file(page):
    sources = [
        value
        for _, attributes in Elements(page).found
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action")
    ]
    assert sources
    assert all(source[0] == "#" or source == "data:," for source in sources)
    assert not re.search(r"@import|url\(", page)
    assert "default-src 'none'" in page


def test_scores_that_are_unknown_are_a_dash(page):
    # Of the classes' CAM seeds and their mean, of the teacher's two CAM scores.
    assert page.count(">–<") == 5 + 2


def test_a_missing_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="is undefined"):
        render_page(title="alone")


def test_a_report_is_known_by_its_head(page, tmp_path):
    file = tmp_path / "page.html"
    for text, known in ((page, True), ("<!doctype html><title>mine</title>", False)):
        file.write_text(text)
        assert is_report(file) == known
