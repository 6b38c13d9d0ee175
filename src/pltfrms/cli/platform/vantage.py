"""`vantage`: ask services as their clients do, from anywhere, and show what came of it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from pltfrms.cli.shared.complete import complete_services
from pltfrms.cli.shared.connect import connect, vantage_plane
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import bad, echo, write_json, write_line, write_table
from pltfrms.cli.shared.routing import asking_user
from pltfrms.errors import UsageError
from pltfrms.model.durations import short_duration
from pltfrms.model.running.vantage import (
    ClientVerdict,
    HeardVantage,
    VantageAnswers,
    VantageAsk,
    VantageReply,
    VantageReport,
    VantageTally,
    VantageToken,
)
from pltfrms.planner.vantage.verdicts import old_ms, place_of, verdict_of

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")


@click.group(cls=LazyGroup)
def vantage() -> None:
    """Ask services as clients do, and show who answers whom.

    Every edge is a vantage point; with `run`, any machine of yours outside is one, too.

    Example: pltfrms vantage show web
    """


@vantage.command("show")
@click.argument("service", required=False, shell_complete=complete_services)
@_JSON
@pass_settings
def show(settings: Settings, service: str | None, *, as_json: bool) -> None:
    """Show who answers whom, how fast, how often not.

    What vantage points told the controller that answers, of their last 30 questions each.

    Example: pltfrms vantage show web
    """
    client = connect(settings)
    said = client.get("/v1/vantage", {}, VantageAnswers)
    if as_json:
        write_json(said)
        return
    old = old_ms(client.snapshot().last_known.platform)
    columns = ("service", "address", "from", "by", "answered", "p50", "p99", "said", "how not")
    write_table(columns, sorted(_rows(said.heard, service, old)))


def _rows(
    heard: Iterable[HeardVantage], service: str | None, old: int
) -> Iterator[tuple[str, ...]]:
    for each in heard:
        place, name = place_of(each), each.report.vantage
        where = name if place == name else f"{place} ({name})"
        said = f"{short_duration(each.age_ms / 1000)} ago"
        for tally in each.report.tallies:
            if service in {None, tally.service}:
                yield (*_cells(tally, where, known=each.age_ms <= old), said, _how_not(tally))


def _cells(tally: VantageTally, where: str, *, known: bool) -> tuple[str, ...]:
    recent = tally.recent
    verdict = verdict_of(recent) if known else ClientVerdict.UNKNOWN
    answered = f"{recent.asked - recent.failed}/{recent.asked}"
    if verdict is ClientVerdict.UNKNOWN:
        answered += " (not known)"
    return (
        tally.service,
        f"{tally.address} port {tally.port}",
        where,
        ", ".join(recent.by) or "-",
        bad(answered) if verdict in {ClientVerdict.NO, ClientVerdict.PARTLY} else answered,
        _milliseconds(recent.p50_us),
        _milliseconds(recent.p99_us),
    )


def _how_not(tally: VantageTally) -> str:
    return tally.recent.unable or tally.recent.failure or "-"


def _milliseconds(took_us: int) -> str:
    return f"{took_us / 1000:.1f} ms" if took_us else "-"


@vantage.command("token")
@click.argument("name")
@_JSON
@pass_settings
def token(settings: Settings, name: str, *, as_json: bool) -> None:
    """Make a token with which a vantage point outside begins.

    The platform must name it, under `vantage.outside`. The token is good for an hour, to report
    as this vantage point and for nothing else; `vantage run` gets younger ones by itself.

    Example: pltfrms vantage token berlin
    """
    ask = VantageAsk(vantage=name, by=asking_user())
    made = connect(settings).post("/v1/vantage/tokens", ask, VantageToken)
    if as_json:
        write_json(made)
        return
    write_line(made.token)
    echo("within an hour, elsewhere: pltfrms vantage run NAME --token-file FILE", err=True)


@vantage.command("run")
@click.argument("name")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Has the token; younger ones are written there.",
)
@click.option("--rounds", type=click.IntRange(1), metavar="N", help="End after so many rounds.")
@pass_settings
def run(settings: Settings, name: str, token_file: Path, *, rounds: int | None) -> None:
    """Be a vantage point until interrupted.

    Asks what controllers say, at the addresses of services, and tells each controller that is
    named (--controller, or those of a context) what came of it.

    Example: pltfrms vantage run berlin --context prod --token-file token
    """
    import asyncio  # noqa: PLC0415 - 20 ms, which no other command here needs

    from pltfrms.drivers.log import log_to_stderr  # noqa: PLC0415 - as above

    shown = _Shown(token_file)
    log_to_stderr()
    asyncio.run(_be(settings, name, shown, rounds))


class _Shown:
    """The token in a file."""

    def __init__(self, path: Path) -> None:
        """Read it; UsageError if there is none."""
        self._path = path
        try:
            self.text = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} has no token: {error}") from error

    def take(self, younger: str) -> None:
        """Show a younger token from now on; OSError if it cannot be kept."""
        from pltfrms.drivers.private import replace_file  # noqa: PLC0415 - few need it

        if younger:
            replace_file(self._path, f"{younger}\n".encode())
            self.text = younger


async def _be(settings: Settings, name: str, shown: _Shown, rounds: int | None) -> None:
    from pltfrms.agent.control.vantage import VantagePoint  # noqa: PLC0415 - as in `run`
    from pltfrms.drivers.clock import SystemClock  # noqa: PLC0415 - as above
    from pltfrms.drivers.workload.probes.from_here import FromHere  # noqa: PLC0415 - as above

    plane = vantage_plane(settings)

    async def tell(report: VantageReport) -> VantageReply:
        reply = await plane.report(report, shown.text)
        shown.take(reply.token)
        return reply

    point = VantagePoint(name, SystemClock(), FromHere(), tell)
    try:
        if rounds is None:
            await point.run()
        for _ in range(rounds or 0):
            await point.round()
        await point.report()
    finally:
        await plane.close()
    if point.unheard:
        raise UsageError(point.unheard)
