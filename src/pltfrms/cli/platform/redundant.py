"""`redundancy`: whether one more failure is survived, and if not, which and why."""

from collections.abc import Sequence

import click

from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import (
    bad,
    echo,
    good,
    paint,
    write_json,
    write_line,
    write_table,
)
from pltfrms.errors import UnavailableError
from pltfrms.model.running.loads import ServiceLoad
from pltfrms.model.running.redundancy import Redundancy, Survival
from pltfrms.seen.headline import loss_words, redundancy_sentence


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def redundancy(settings: Settings, *, as_json: bool) -> None:
    """Say whether one more failure is survived.

    One failure is that of an instance, a node, an edge, a fabric, a link, a datacenter or a
    controller, alone. A service survives it if clients of each of its prefixes are still
    answered, from wherever, by enough instances for what they have to do; an aggregate if it
    is still announced; the store if a majority of controllers is left. What a datacenter would
    no longer answer itself, and what would part the backbone, is said, too, but is no reason
    to call the platform weak. What services have to do is what `capacity` declares or, where
    it is more, what was measured in the last day.

    Example: pltfrms redundancy
    """
    found = connect(settings).snapshot().redundancy
    if found is None:
        raise UnavailableError("this controller does not say: it is older, or too busy")
    if as_json:
        write_json(found)
        return
    write_line(redundancy_line(found))
    rows = [
        (each.about, loss_words(each), _survival(each.survival), each.why)
        for each in found.weaknesses
    ]
    if rows:
        echo()
        write_table(("of", "loss", "verdict", "why"), rows)
    if found.loads:
        echo()
        write_table(("service", "has to do", "a replica can do"), load_rows(found.loads))


def load_rows(loads: Sequence[ServiceLoad]) -> list[tuple[str, ...]]:
    """Return what services have to do, where that is known from, and what replicas can."""
    return [
        (
            each.service,
            each.words if each.used is not None else paint(each.words, "yellow"),
            each.amount(each.each),
        )
        for each in loads
    ]


def redundancy_line(found: Redundancy) -> str:
    """Return the verdict in one sentence, painted."""
    words = redundancy_sentence(found)
    if found.survival is Survival.NOT_KNOWN:
        return paint(words, "yellow")
    return (good if found.survival is Survival.SURVIVED else bad)(words)


def _survival(survival: Survival) -> str:
    return bad(survival) if survival is Survival.NOT_SURVIVED else paint(survival, "yellow")
