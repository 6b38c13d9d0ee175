"""`network audit` and `network prefixes`: us, as registries and auditors see us."""

from pathlib import Path

import click

from pltfrms.cli.shared.connect import read_view
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import bad, echo, unix_ms, write_json, write_table
from pltfrms.cli.shared.roas import read_roas
from pltfrms.cli.shared.specs import load_platform
from pltfrms.errors import ConflictError
from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.interventions import Interventions
from pltfrms.planner.routing.audit import Grade, Remark, audit
from pltfrms.planner.routing.visibility import present_statuses

_REFUSED = 4
_SHRINK_PERCENT = 50


@click.command("audit", cls=Command)
@click.option(
    "--roas",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="ROAs as validators export them (JSON with `roas`), to check our own prefixes.",
)
@click.option(
    "--platform",
    "spec",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Judge this file alone, without asking a controller.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def audit_network(
    settings: Settings, *, roas: Path | None, spec: Path | None, as_json: bool
) -> None:
    """Check against MANRS and for what was forgotten.

    MANRS actions 1 to 4, redundancy, on how many sessions aggregates are heard, limits that are
    near, overrides and interventions that nobody ended. Exit code 4 if there is a warning.

    Example: pltfrms network audit --roas /var/lib/rpki-client/json
    """
    known = read_roas(roas) if roas else None
    if spec:
        found = audit(load_platform(spec), Interventions(), None, known, unix_ms())
    else:
        view = read_view(settings).snapshot
        statuses = present_statuses(view)
        found = audit(view.platform, view.interventions, statuses, known, unix_ms())
    if as_json:
        write_json(found)
    else:
        rows = [(each.topic, each.about, str(each.grade), _colored(each)) for each in found]
        write_table(("topic", "about", "grade", "remark"), rows)
    if any(each.grade is Grade.WARNING for each in found):
        click.get_current_context().exit(_REFUSED)


def _colored(remark: Remark) -> str:
    return bad(remark.sentence) if remark.grade is Grade.WARNING else remark.sentence


@click.command("prefixes", cls=Command)
@click.argument("as_set", metavar="AS-SET")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Replace this file, the customer's prefixes_file.",
)
@click.option("--server", default="", help="Registry mirror to ask, such as rr.ntt.net.")
@click.option("--sources", default="", help="Registries to believe, such as RIPE,ARIN.")
@click.option(
    "--yes-i-mean",
    "despite",
    multiple=True,
    type=click.Choice([Guard.EMPTY_IS_ERROR.value, Guard.SHRINK_GUARD.value]),
    help="Override a guard.",
)
def prefixes(
    as_set: str, output: Path | None, server: str, sources: str, despite: tuple[str, ...]
) -> None:
    """Ask the routing registries what a customer may announce.

    Asks with bgpq4. An empty answer, or one that lost more than half of what FILE has, is
    refused: registries fail too.

    Example: pltfrms network prefixes AS-SHOP --output customers/shop.txt
    """
    from pltfrms.drivers.operators.irr import expand_as_set  # noqa: PLC0415 - asyncio: 20 ms

    found = [str(prefix) for prefix in expand_as_set(as_set, server, sources)]
    before = output.read_text().split("\n") if output and output.exists() else []
    had = sum(bool(line.partition("#")[0].strip()) for line in before)
    if not found and Guard.EMPTY_IS_ERROR not in despite:
        what = f"the registries know no prefix of {as_set}; nothing is changed"
        raise ConflictError(f"{what} (--yes-i-mean {Guard.EMPTY_IS_ERROR})")
    if 100 * len(found) < _SHRINK_PERCENT * had and Guard.SHRINK_GUARD not in despite:
        what = f"{as_set} shrank from {had} to {len(found)} prefixes; nothing is changed"
        raise ConflictError(f"{what} (--yes-i-mean {Guard.SHRINK_GUARD})")
    text = "\n".join([f"# {as_set}, from the routing registries", *found, ""])
    if output is None:
        echo(text, nl=False)
        return
    new = output.with_name(f"{output.name}.new")
    new.write_text(text)
    new.replace(output)
    echo(f"{output}: {had} -> {len(found)} prefixes; see: pltfrms plan")
