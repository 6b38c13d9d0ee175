"""`brake`: what of lost nodes is not moved, because so many are lost, is moved all the same."""

import click

from pltfrms.cli.network.intervening import InterventionWish, intervene, wished
from pltfrms.cli.shared.complete import complete_datacenters
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import unix_ms
from pltfrms.cli.shared.values import DURATION
from pltfrms.model.messages.api import InterventionChange, Verb

_DATACENTER = click.argument("datacenter", shell_complete=complete_datacenters)


@click.group("brake", cls=LazyGroup)
def brake() -> None:
    """Let the replicas of many lost nodes be moved, or not.

    Example: pltfrms brake release fra --why "fire"
    """


@brake.command("release")
@_DATACENTER
@click.option(
    "--for",
    "for_ms",
    type=DURATION,
    default="30m",
    show_default=True,
    help="The brake holds again then.",
)
@wished()
@pass_settings
def release(settings: Settings, datacenter: str, for_ms: int, wish: InterventionWish) -> None:
    """Say that nodes of a datacenter that are lost now are dead.

    Their replicas are placed on the nodes that are left there, as far as these have room,
    although the brake on mass changes holds (`mass-loss` in status); where it holds nothing,
    the command is refused. Nodes that are only not seen go on serving: their replicas run
    twice then. Who is lost later is not among them. It ends by itself, in a day at most.

    Example: pltfrms brake release fra --for 1h --why "two racks without power"
    """
    change = InterventionChange(
        verb=Verb.RELEASE, datacenter=datacenter, until_ms=unix_ms() + for_ms
    )
    intervene(settings, change, f"release of the brake of {datacenter}", wish)


@brake.command("hold")
@_DATACENTER
@wished()
@pass_settings
def hold(settings: Settings, datacenter: str, wish: InterventionWish) -> None:
    """End a release of the brake before its time.

    Example: pltfrms brake hold fra
    """
    change = InterventionChange(verb=Verb.HOLD, datacenter=datacenter)
    intervene(settings, change, f"brake of {datacenter}", wish)
