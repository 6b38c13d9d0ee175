"""Whether clients are served, as people read it."""

from dataclasses import replace

from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.messages.picture import Level, Seen
from pltfrms.model.running.vantage import ClientEvidence, ClientVerdict, ServiceEvidence
from pltfrms.seen.clients import clients_line
from pltfrms.seen.picture import picture_of
from tests.cli.world import HEALTHY, NOW_MS

VIEW = SnapshotView(controller="fra-c1", snapshot=HEALTHY)


def seen(served: ClientVerdict, why: str = "") -> SnapshotView:
    web = ServiceEvidence(
        service="web",
        served=served,
        why=why,
        asked_from=("berlin",),
        answered_by={"berlin": ("fra",)},
        missed_from=("berlin",),
    )
    said = ClientEvidence(served=served, sentence="a sentence", services=(web,), points=1)
    return replace(VIEW, clients=said)


def test_a_controller_that_hears_nobody_says_so() -> None:
    assert clients_line(VIEW) == "clients: not known; this controller hears no vantage points"
    assert picture_of(VIEW, NOW_MS).clients == ()


def test_who_is_silent_is_named() -> None:
    view = seen(ClientVerdict.YES)
    assert view.clients
    assert clients_line(view) == "clients: a sentence"
    silent = replace(view, clients=replace(view.clients, silent=("a", "b", "c", "d")))
    assert clients_line(silent) == "clients: a sentence; silent: a, b, c"


def test_the_page_has_the_state_of_each_service() -> None:
    for served, state in (
        (ClientVerdict.YES, Seen.GOOD),
        (ClientVerdict.PARTLY, Seen.BAD),
        (ClientVerdict.NO, Seen.BAD),
        (ClientVerdict.UNKNOWN, Seen.UNKNOWN),
    ):
        picture = picture_of(seen(served, "why"), NOW_MS)
        (web,) = picture.clients
        assert (web.id, web.state, web.served, web.why) == ("web", state, served, "why")
        assert web.answered_by == {"berlin": ("fra",)}
        assert web.missed_from == ("berlin",)
        assert picture.headline.clients == "clients: a sentence"


def test_what_clients_do_not_get_is_among_the_problems() -> None:
    usual = len(picture_of(VIEW, NOW_MS).problems)
    for served in (ClientVerdict.PARTLY, ClientVerdict.NO):
        last = picture_of(seen(served, "from ams it is refused"), NOW_MS).problems[-1]
        assert (last.about, last.sentence) == ("web", f"{served}: from ams it is refused")
        assert last.command == "pltfrms vantage show web"
    for served in (ClientVerdict.YES, ClientVerdict.UNKNOWN):
        assert len(picture_of(seen(served, "why"), NOW_MS).problems) == usual


def test_a_service_that_answers_nobody_is_the_headline_and_one_not_known_is_not() -> None:
    head = picture_of(seen(ClientVerdict.NO), NOW_MS).headline
    assert head.level is Level.FAILING
    assert head.sentence == "no vantage point gets an answer of web"
    head = picture_of(seen(ClientVerdict.PARTLY, "why"), NOW_MS).headline
    assert head.level is Level.DEGRADED
    assert head.sentence.startswith("not all clients of web are answered; ")
    usual = picture_of(VIEW, NOW_MS).headline
    for served in (ClientVerdict.YES, ClientVerdict.UNKNOWN):
        head = picture_of(seen(served), NOW_MS).headline
        assert (head.level, head.sentence) == (usual.level, usual.sentence)
