"""Whether clients are served, for people. Pure."""

from collections.abc import Iterator
from typing import Final

from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.messages.picture import ClientElement, Concern, Picture, Seen
from pltfrms.model.running.vantage import ClientVerdict

_STATES: Final = {
    ClientVerdict.YES: Seen.GOOD,
    ClientVerdict.PARTLY: Seen.BAD,
    ClientVerdict.NO: Seen.BAD,
    ClientVerdict.UNKNOWN: Seen.UNKNOWN,
}


def clients_line(view: SnapshotView) -> str:
    """Return the sentence that everything begins with."""
    if view.clients is None:
        return "clients: not known; this controller hears no vantage points"
    silent = view.clients.silent
    more = f"; silent: {', '.join(silent[:3])}" if silent else ""
    return f"clients: {view.clients.sentence}{more}"


def served_so(view: SnapshotView, served: ClientVerdict) -> list[str]:
    """Return the services of which vantage points say that."""
    found = view.clients.services if view.clients else ()
    return [each.service for each in found if each.served is served]


def client_elements(view: SnapshotView) -> Iterator[ClientElement]:
    """Yield each service as its clients see it."""
    for each in view.clients.services if view.clients else ():
        yield ClientElement(
            id=each.service,
            state=_STATES[each.served],
            why=each.why,
            served=each.served.value,
            asked_from=each.asked_from,
            answered_by={where: tuple(names) for where, names in each.answered_by.items()},
            missed_from=each.missed_from,
        )


def client_concerns(drawn: Picture) -> Iterator[Concern]:
    """Yield what clients do not get, as far as somebody knows it."""
    for each in drawn.clients:
        if each.state is Seen.BAD:
            yield Concern(
                id=f"clients/{each.id}",
                about=each.id,
                sentence=f"{each.served}: {each.why}",
                command=f"pltfrms vantage show {each.id}",
            )
