"""The documentation names what there is, and links to what exists."""

import re
from pathlib import Path

import click
import pytest

from pltfrms.cli.main import cli
from pltfrms.drivers.balancer_maps import COUNTERS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def command_names(group: click.Group, path: str = "") -> list[str]:
    """Return `lab up`, `status`, ...: every command that is not a group."""
    context = click.Context(group)
    names: list[str] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        full = f"{path}{name}"
        names += (
            command_names(command, f"{full} ") if isinstance(command, click.Group) else [full]
        )
    return names


@pytest.mark.parametrize("name", command_names(cli))
def test_every_command_is_in_the_overview(name: str) -> None:
    assert f"`{name}" in (ROOT / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_counter_of_the_director_is_explained() -> None:
    page = (ROOT / "docs" / "balancer.md").read_text()
    assert [name for name in COUNTERS if f"| `{name}` |" not in page] == []
