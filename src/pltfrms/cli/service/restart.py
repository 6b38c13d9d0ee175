"""`service restart`: a rollout of what runs already."""

import click

from pltfrms.cli.service.rollout import change_rollout
from pltfrms.cli.shared.complete import complete_services
from pltfrms.cli.shared.options import Settings, pass_settings
from pltfrms.cli.shared.routing import WHY
from pltfrms.model.messages.api import RolloutVerb


@click.command()
@click.argument("name", shell_complete=complete_services)
@click.option("--yes", is_flag=True, help="Do not ask.")
@WHY
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def restart(settings: Settings, name: str, *, yes: bool, why: str, as_json: bool) -> None:
    """Restart every replica of a service, by stages.

    Each is replaced by a new one first, as for a new version: see `pltfrms rollout`.

    Example: pltfrms service restart web --yes --why "new certificates"
    """
    question = "" if yes else f"Restart every replica of {name}, by stages?"
    change_rollout(settings, RolloutVerb.RESTART, name, why, question, as_json=as_json)
