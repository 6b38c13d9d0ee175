"""`service restart`: a rollout of what runs already."""

from typing import Any

import click

from pltfrms.cli.service.rollout import change_rollout
from pltfrms.cli.shared.complete import complete_services
from pltfrms.cli.shared.options import Settings, pass_settings
from pltfrms.cli.shared.routing import WHY
from pltfrms.cli.shared.values import TIMEOUT
from pltfrms.model.messages.api import RolloutChange, RolloutVerb


@click.command()
@click.argument("name", shell_complete=complete_services)
@click.option("--yes", is_flag=True, help="Do not ask.")
@WHY
@click.option(
    "--wait/--no-wait",
    default=False,
    help="Wait until the last stage is over, and all are ready.",
)
@click.option(
    "--timeout",
    "timeout_ms",
    type=TIMEOUT,
    default="60s",
    show_default=True,
    help="How long --wait waits for each stage.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def restart(settings: Settings, /, name: str, why: str, *, yes: bool, **options: Any) -> None:
    """Restart every replica of a service, by stages.

    Each is replaced by a new one first, as for a new version: see `pltfrms rollout`. With
    --wait, exit code 6 means that the new ones were not good enough, and those before are back.

    Example: pltfrms service restart web --yes --wait --why "new certificates"
    """
    question = "" if yes else f"Restart every replica of {name}, by stages?"
    wish = RolloutChange(verb=RolloutVerb.RESTART, service=name, why=why)
    wait_ms = options["timeout_ms"] if options["wait"] else None
    change_rollout(settings, wish, question, wait_ms=wait_ms, as_json=options["as_json"])
