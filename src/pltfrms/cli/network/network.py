"""`network show`, `freeze`, `unfreeze`, `blackhole`: what is done to all of it for a while."""

from ipaddress import ip_network
from pathlib import Path

import click

from pltfrms.cli.network.intervening import JSON, InterventionWish, intervene, wished
from pltfrms.cli.shared.complete import complete_blackholes
from pltfrms.cli.shared.connect import connect, look
from pltfrms.cli.shared.options import Entry, LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import bad, echo, good, unix_ms, write_json, write_line
from pltfrms.cli.shared.routing import asking_user
from pltfrms.cli.shared.values import DURATION
from pltfrms.drivers.ports import Directories
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import InterventionChange, Verb
from pltfrms.model.network.interventions import Interventions
from pltfrms.seen.loads import load_words
from pltfrms.seen.network import (
    NetworkDetail,
    asked_sentence,
    blackhole_lines,
    network_detail,
    unsettled_sentence,
)
from pltfrms.seen.words import drain_sentence, freeze_sentence, release_sentence

FROZEN_HERE = Directories().runtime / "frozen"
"""While this file is there, the agent of this machine changes no route."""

_HERE = click.option(
    "--here",
    is_flag=True,
    help="Only this machine, by a file that its agent reads: needs no controller.",
)


ENTRIES = {
    "audit": Entry(
        "pltfrms.cli.network.registry",
        "audit_network",
        "Check against MANRS and for what was forgotten",
    ),
    "prefixes": Entry(
        "pltfrms.cli.network.registry",
        "prefixes",
        "Ask the registries what a customer may announce",
    ),
    "make-secret": Entry(
        "pltfrms.cli.network.secret",
        "make_secret",
        "Make the secret behind the keys of WireGuard links",
    ),
}


@click.group(cls=LazyGroup, entries=ENTRIES)
def network() -> None:
    """Freeze the network, drop attacks, see what is going on.

    Example: pltfrms network show
    """


@network.command("show")
@JSON
@pass_settings
def show_network(settings: Settings, *, as_json: bool) -> None:
    """Show freezes, releases, drains, blackholes, overrides.

    Overrides are shown from seven days before their end on.

    Example: pltfrms network show
    """
    now = unix_ms()
    detail = network_detail(look(settings, as_json=as_json), now)
    if as_json:
        write_json(detail)
    else:
        _show(detail, now)


@network.command("freeze")
@_HERE
@wished()
@pass_settings
def freeze(settings: Settings, wish: InterventionWish, *, here: bool) -> None:
    """Stop everything of ours that changes a route.

    Controllers plan nothing, agents leave routes as they are, until somebody says
    `network unfreeze`.

    Example: pltfrms network freeze --why "something withdraws prefixes"
    """
    if here:
        _freeze_here(wish)
    else:
        intervene(settings, InterventionChange(verb=Verb.FREEZE), "freeze", wish)


@network.command("unfreeze")
@_HERE
@wished()
@pass_settings
def unfreeze(settings: Settings, wish: InterventionWish, *, here: bool) -> None:
    """End a freeze: what is wanted is done again.

    Example: pltfrms network unfreeze
    """
    if here:
        _unfreeze_here(wish)
    else:
        intervene(settings, InterventionChange(verb=Verb.UNFREEZE), "unfreeze", wish)


@network.group("blackhole", cls=LazyGroup)
def blackhole() -> None:
    """Have peers drop the traffic to an address of ours.

    Example: pltfrms network blackhole add 198.51.100.7 --for 1h
    """


@blackhole.command("add")
@click.argument("prefix")
@click.option("--for", "for_ms", type=DURATION, required=True, help="It ends by itself then.")
@wished()
@pass_settings
def add_blackhole(settings: Settings, prefix: str, for_ms: int, wish: InterventionWish) -> None:
    """Ask the peers that speak blackhole (RFC 7999) to drop.

    PREFIX is one address of an aggregate. Those are asked whose spec says `blackhole: true`;
    if there are none, it is refused.

    Example: pltfrms network blackhole add 198.51.100.7 --for 1h --why "attack"
    """
    whole = _prefix(prefix)
    change = InterventionChange(verb=Verb.BLACKHOLE, prefix=whole, until_ms=unix_ms() + for_ms)
    intervene(settings, change, f"blackhole {whole}", wish)
    if not wish.as_json:
        snapshot = connect(settings).snapshot().snapshot
        write_line(asked_sentence(snapshot, ip_network(whole), unix_ms()))


@blackhole.command("remove")
@click.argument("prefix", shell_complete=complete_blackholes)
@wished()
@pass_settings
def remove_blackhole(settings: Settings, prefix: str, wish: InterventionWish) -> None:
    """End a blackhole before its time.

    Example: pltfrms network blackhole remove 198.51.100.7
    """
    whole = _prefix(prefix)
    change = InterventionChange(verb=Verb.UNBLACKHOLE, prefix=whole)
    intervene(settings, change, f"end of blackhole {whole}", wish)


def _prefix(text: str) -> str:
    """Return an address or prefix as a prefix; an address is one of full length."""
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise click.UsageError(f"{text!r} is no address or prefix: {error}") from error


# ---- this machine alone --------------------------------------------------------------------


def _freeze_here(wish: InterventionWish) -> None:
    text = f"{wish.why or 'no reason given'}; by {asking_user()}\n"
    if not wish.dry_run:
        try:
            FROZEN_HERE.parent.mkdir(parents=True, exist_ok=True)
            FROZEN_HERE.write_text(text)
        except OSError as error:
            raise _cannot(FROZEN_HERE, error) from error
    _say_here(f"this machine is frozen by {FROZEN_HERE}", wish)


def _unfreeze_here(wish: InterventionWish) -> None:
    if not wish.dry_run:
        try:
            FROZEN_HERE.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot(FROZEN_HERE, error) from error
    _say_here("this machine is not frozen by itself any more", wish)


def _say_here(sentence: str, wish: InterventionWish) -> None:
    if wish.as_json:
        write_json({"here": sentence, "dry_run": wish.dry_run}, dict[str, str | bool])
    else:
        echo(f"{sentence} (dry run: nothing was done)" if wish.dry_run else sentence)


def _cannot(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(f"{path}: {error.strerror}; run it as root on that machine")


# ---- words ---------------------------------------------------------------------------------


def _show(detail: NetworkDetail, now: int) -> None:
    done = detail.interventions
    if done.freeze:
        write_line(bad(freeze_sentence(done.freeze, now)))
    _section("drains", [drain_sentence(each, now) for each in done.drains])
    _section("blackholes", blackhole_lines(detail, now))
    _section("brake released", [release_sentence(each, now) for each in done.releases])
    _section("overrides that end soon or have ended", detail.overrides)
    edges = [unsettled_sentence(each) for each in detail.unsettled]
    _section("edges whose routing is not confirmed", edges)
    if done == Interventions() and not (detail.overrides or edges):
        write_line(good("nothing is frozen, drained or blackholed; every edge is confirmed"))
    _section("traffic", [f"{each.name}: {load_words(each)}" for each in detail.loads])


def _section(title: str, lines: list[str] | tuple[str, ...]) -> None:
    if lines:
        echo(title)
    for line in lines:
        write_line(f"  {line}")
