"""The documentation names what there is, and links to what exists."""

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest

from pltfrms.cli.main import cli
from pltfrms.drivers.balancer.maps import COUNTERS
from pltfrms.model.network.topology import Timers
from pltfrms.specfile.load import Kind
from pltfrms.specfile.reference import reference
from pltfrms.specfile.shapes.platform import TimersShape

ROOT = Path(__file__).parent.parent
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")} - {ROOT / "docs/site/index.md"})


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


@pytest.mark.parametrize("kind", ["platform", "service", "postgres", "job", "lab"])
def test_the_page_of_a_file_has_every_key_that_it_may_have(kind: Kind) -> None:
    page = ROOT / "docs" / "reference" / f"{kind}.md"
    how = f"pltfrms schema {kind} --markdown > docs/reference/{kind}.md"
    assert page.read_text() == reference(kind), how


def test_pages_call_timers_what_the_spec_calls_them() -> None:
    ours = {each.name for each in fields(Timers)} - set(TimersShape.model_fields)
    assert "announce_after_ms" in ours
    for page in PAGES:
        assert ours & set(re.findall(r"`([a-z_]+)`", page.read_text())) == set(), page


def written_commands() -> list[str]:
    """Return every command line of ours in the pages, with the name of its page."""
    lines = [
        (page.relative_to(ROOT), line)
        for page in PAGES
        for line in re.findall(
            r"(?:^(?:\$ )?|`)(pltfrms [^`#\n]+)", page.read_text(), re.MULTILINE
        )
    ]
    return [f"{page}: {line.strip()}" for page, line in lines]


@pytest.mark.parametrize("written", written_commands())
def test_written_commands_have_the_options_that_they_name(written: str) -> None:
    words = written.partition(": pltfrms ")[2].partition(" -- ")[0].split()
    command: click.Command = cli
    context = click.Context(cli)
    options = set()
    while words and isinstance(command, click.Group):
        options |= {each for one in command.get_params(context) for each in one.opts}
        found = command.get_command(context, words[0])
        if found is None:
            break  # a placeholder, such as COMMAND
        command, words = found, words[1:]
    for one in command.get_params(context):
        options |= {*one.opts, *one.secondary_opts}
    named = {
        word.strip("[]").partition("=")[0] for word in words if word.strip("[").startswith("--")
    }
    assert named - options <= {"--help"}
