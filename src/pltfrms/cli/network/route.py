"""`route show`, `route why`: the routes that our machines have, and why."""

from collections.abc import Iterable
from dataclasses import dataclass

import click

from pltfrms.cli.network.community_words import community_words
from pltfrms.cli.shared.complete import complete_drainable, complete_platform_machines
from pltfrms.cli.shared.connect import connect, read_view
from pltfrms.cli.shared.glass_look import ask_routes, merged
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import (
    bad,
    echo,
    good,
    unix_ms,
    write_json,
    write_line,
    write_table,
)
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.addresses import Prefix, read_prefix
from pltfrms.model.messages.glass import RouteAnswers, RouteView
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.routing.why import Crossing, Why, crossings, why_announced, why_used

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_ALL, _REFUSED = "all", "filtered"
_FILTERED = {None: (False,), _ALL: (False, True), _REFUSED: (True,)}
_PREFIX = click.argument("prefix", metavar="PREFIX|ADDRESS")


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyRow:
    """What `route why` says of one session."""

    session: str
    prefix: str
    announced: bool | None = None
    """To the peer; None: not asked, or it cannot be known."""
    used: bool | None = None
    """From the peer; None likewise."""
    because: tuple[str, ...]
    routes: tuple[RouteView, ...] = ()
    """What the edge really has: what leaves, or what came in."""


@click.group(cls=LazyGroup)
def route() -> None:
    """Show routes, and say why they are as they are.

    Example: pltfrms route show 198.51.100.0/24
    """


@route.command("show")
@_PREFIX
@click.option(
    "--from",
    "machine",
    default="",
    metavar="MACHINE",
    shell_complete=complete_platform_machines,
    help="Ask this machine; by default every edge.",
)
@click.option("--session", default="", metavar="NAME", help="Only what came over it.")
@click.option("--all", "kind", flag_value=_ALL, help="Also routes that were refused.")
@click.option("--filtered", "kind", flag_value=_REFUSED, help="Only routes that were refused.")
@_JSON
@pass_settings
def show_routes(
    settings: Settings,
    prefix: str,
    machine: str,
    session: str,
    kind: str | None,
    *,
    as_json: bool,
) -> None:
    """Show the paths to a prefix or address that edges have.

    What is shown is the longest match.

    Example: pltfrms route show 203.0.113.7 --from fra-e1 --all
    """
    client = connect(settings)
    answers = merged(
        *(
            ask_routes(client, prefix, machine=machine, session=session, filtered=filtered)
            for filtered in _FILTERED[kind]
        )
    )
    if as_json:
        write_json(answers)
    else:
        _show(client.snapshot().snapshot.platform, answers, prefix)
    if answers.silent and not answers.routes:
        silent = ", ".join(answers.silent)
        raise UnavailableError(f"no route to {prefix} is known, and {silent} did not answer")


@route.command("why")
@_PREFIX
@click.option(
    "--to",
    "to_peer",
    default="",
    metavar="PEER[@EDGE]",
    shell_complete=complete_drainable,
    help="Why it is or is not announced to this peer.",
)
@click.option(
    "--from",
    "from_peer",
    default="",
    metavar="PEER[@EDGE]",
    shell_complete=complete_drainable,
    help="Why a route of this peer is or is not used.",
)
@_JSON
@pass_settings
def why(
    settings: Settings, prefix: str, to_peer: str, from_peer: str, *, as_json: bool
) -> None:
    """Say why a prefix is (not) announced, or a route (not) used.

    Example: pltfrms route why 198.51.100.0/24 --to transit1@fra-e1
    """
    if bool(to_peer) == bool(from_peer):
        raise click.UsageError("say either --to PEER or --from PEER")
    asked = read_prefix(prefix)
    name, _, edge = (to_peer or from_peer).partition("@")
    snapshot = read_view(settings).snapshot
    client = connect(settings)
    explain = _explain_out if to_peer else _explain_in
    rows = tuple(
        explain(client, snapshot, at, asked)
        for at in crossings(snapshot, name, edge, asked.version)
    )
    if as_json:
        write_json(rows, tuple[WhyRow, ...])
        return
    for row in rows:
        _show_why(row)


# ---- why -----------------------------------------------------------------------------------


def _explain_out(
    client: OperatorClient, snapshot: Snapshot, at: Crossing, prefix: Prefix
) -> WhyRow:
    """Return what should leave there, and what does."""
    wanted = why_announced(snapshot, at, prefix, unix_ms())
    answers = _ask_edge(client, at, prefix, exported=at.protocol)
    routes = tuple(each for each in answers.routes if each.prefix == str(prefix))
    seen = None if at.edge in answers.silent else bool(routes)
    because = (*wanted.because, *_seen_out(at, answers, routes))
    if None not in {seen, wanted.so} and seen != wanted.so:
        because += ("this is not what was expected; what BIRD says counts",)
    return WhyRow(
        session=at.session,
        prefix=str(prefix),
        announced=wanted.so if seen is None else seen,
        because=because,
        routes=routes,
    )


def _seen_out(
    at: Crossing, answers: RouteAnswers, routes: tuple[RouteView, ...]
) -> Iterable[str]:
    if at.edge in answers.silent:
        return (_silence(at.edge, answers.silent[at.edge]),)
    if not routes:
        return (f"BIRD on {at.edge} does not announce it there",)
    return tuple(f"BIRD on {at.edge} announces it{_leaving(each)}" for each in routes)


def _leaving(each: RouteView) -> str:
    parts = [
        f"{' '.join(each.as_path)} behind our ASN" if each.as_path else "",
        f"MED {each.med}" if each.med is not None else "",
        *each.communities,
        *each.large_communities,
    ]
    said = ", ".join(part for part in parts if part)
    return f" with {said}" if said else ""


def _explain_in(
    client: OperatorClient, snapshot: Snapshot, at: Crossing, prefix: Prefix
) -> WhyRow:
    """Return what came in there, and what became of it."""
    accepted = _ask_edge(client, at, prefix)
    refused = _ask_edge(client, at, prefix, session=at.protocol, filtered=True)
    answers = merged(accepted, refused)
    if at.edge in answers.silent:
        found = Why(so=None, because=(_silence(at.edge, answers.silent[at.edge]),))
    else:
        found = why_used(snapshot, at, prefix, accepted.routes, refused.routes)
    return WhyRow(
        session=at.session,
        prefix=str(prefix),
        used=found.so,
        because=found.because,
        routes=tuple(each for each in answers.routes if each.session == at.protocol),
    )


def _ask_edge(
    client: OperatorClient,
    at: Crossing,
    prefix: Prefix,
    *,
    session: str = "",
    exported: str = "",
    filtered: bool = False,
) -> RouteAnswers:
    """Return what an edge says; one that does not have the session yet cannot say it."""
    try:
        return ask_routes(
            client,
            str(prefix),
            machine=at.edge,
            session=session,
            exported=exported,
            filtered=filtered,
        )
    except NotFoundError as error:
        return RouteAnswers(routes=(), silent={at.edge: str(error)})


def _silence(edge: str, why_not: str) -> str:
    return f"{edge} does not say what it really does: {why_not}"


# ---- words ---------------------------------------------------------------------------------


def _show(platform: Platform, answers: RouteAnswers, prefix: str) -> None:
    if answers.routes:
        columns = ("machine", "state", "prefix", "session", "pref", "AS path", "leads to")
        cells = [_cells(platform, each) for each in answers.routes]
        write_table((*columns, "since", "says"), cells)
    elif not answers.silent:
        echo(f"no route to {prefix}")
    for name, why_not in answers.silent.items():
        echo(f"{bad('no answer')} from {name}: {why_not}", err=True)


def _cells(platform: Platform, each: RouteView) -> tuple[str, ...]:
    words = community_words(platform, each.communities, each.large_communities)
    med = (f"MED {each.med}",) if each.med is not None else ()
    return (
        each.machine,
        "refused" if each.filtered else ("best" if each.best else "-"),
        each.prefix,
        each.session,
        "-" if each.local_preference is None else str(each.local_preference),
        " ".join(each.as_path) or "-",
        ", ".join(each.via) or "-",
        each.since,
        ", ".join((*med, *words)) or "-",
    )


def _show_why(row: WhyRow) -> None:
    so = row.announced if row.used is None else row.used
    write_line(f"{row.session}: {row.prefix}: {_verdict(row, so=so)}")
    for sentence in row.because:
        write_line(f"  {sentence}")


def _verdict(row: WhyRow, *, so: bool | None) -> str:
    if so is None:
        return "not known"
    what = "announced" if row.announced is not None else "used"
    return good(what) if so else bad(f"not {what}")
