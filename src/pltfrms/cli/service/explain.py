"""`explain`: why a service is where it is."""

from dataclasses import dataclass

import click

from pltfrms.cli.shared.complete import complete_service_targets
from pltfrms.cli.shared.connect import read_view
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import write_json, write_line
from pltfrms.planner.placement.explain import explain_service


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Sentences about one thing."""

    about: str
    sentences: tuple[str, ...]


@click.command(cls=Command)
@click.argument("about", metavar="service/NAME", shell_complete=complete_service_targets)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def explain(settings: Settings, about: str, *, as_json: bool) -> None:
    """Say why a service is where it is.

    What is wanted, where each replica runs and why, what is missing, and which edges
    announce it.

    Example: pltfrms explain service/web
    """
    kind, _, name = about.partition("/")
    if kind != "service" or not name:
        raise click.UsageError(f"{about!r} cannot be explained; say service/NAME")
    sentences = explain_service(read_view(settings).last_known, name)
    if as_json:
        write_json(Explanation(about=about, sentences=sentences))
        return
    for sentence in sentences:
        write_line(sentence)
