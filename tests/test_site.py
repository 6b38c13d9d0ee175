"""What the documentation's site has beside the pages in docs/."""

from pathlib import Path

import pytest

from docs.site.pages import commands, metrics, without_links_out
from pltfrms.cli.main import cli
from tests.api.test_alerts import told
from tests.test_docs import command_names

DOCS = Path(__file__).parent.parent / "docs"


def test_it_has_every_metric_that_a_controller_tells() -> None:
    names = {each.removesuffix("_total").removesuffix("_created") for each in told()}
    assert names - set(metrics()) == set()


def test_every_page_has_its_place_in_the_contents() -> None:
    contents = (DOCS / "site" / "index.md").read_text().split()
    pages = [str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")]
    apart = ("adr/", "site/")
    assert [page for page in pages if page not in contents and not page.startswith(apart)] == []


def test_it_has_every_command() -> None:
    titles = [section.partition("\n")[0] for section in commands()]
    assert titles == [f"## `pltfrms {name}`" for name in command_names(cli)]


@pytest.mark.parametrize(
    ("written", "depth", "shown"),
    [
        ("[a](../bench/a.py)", 0, "a (`bench/a.py`)"),
        ("[a](../../README.md#status)", 1, "a (`README.md`)"),
        ("[a](../concepts.md#x)", 1, "[a](../concepts.md#x)"),
        ("[a](b.md) and [c](../d)", 0, "[a](b.md) and c (`d`)"),
        ("![a](../picture.svg)", 0, "![a](../picture.svg)"),
    ],
)
def test_what_is_not_in_the_site_is_no_link(written: str, depth: int, shown: str) -> None:
    assert without_links_out(written, depth) == shown
