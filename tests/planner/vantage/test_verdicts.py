"""Whether clients are served, by what vantage points say."""

from collections import deque
from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.vantage import VantageSpec
from pltfrms.model.running.vantage import (
    WINDOW,
    ClientEvidence,
    ClientVerdict,
    HeardVantage,
    Recent,
    VantageReport,
    VantageTally,
)
from pltfrms.model.services.service import Probe, ProbeKind, Service
from pltfrms.planner.vantage.tallying import AskOutcome, recent_of
from pltfrms.planner.vantage.verdicts import RECOVERED, evidence, old_ms, verdict_of
from tests.strategies import make_platform, make_service, make_spec

PLATFORM = replace(
    make_platform({"fra": 1, "ams": 1}), vantage=VantageSpec(outside=("berlin",))
)
SERVICES = {"web": make_service(make_spec()), "api": make_service(make_spec("api"), 2)}
GOOD = Recent(asked=30, p50_us=2000, p99_us=4000, by={"web.ams.1-1": 30})
DEAD = Recent(asked=30, failed=3, in_a_row=3, failure="Connection refused")
LOSSY = Recent(asked=30, failed=4, failure="no answer within 2000 ms")


def heard(vantage: str, age_ms: int = 1000, **recents: Recent) -> HeardVantage:
    tallies = tuple(
        VantageTally(
            service=name,
            address=ip_address("198.51.100.1"),
            port=80,
            kind="http",
            recent=recent,
        )
        for name, recent in recents.items()
    )
    report = VantageReport(vantage=vantage, began_ms=0, tallies=tallies)
    datacenter = "" if vantage == "berlin" else vantage[:3]
    return HeardVantage(report=report, datacenter=datacenter, age_ms=age_ms)


def judged(*said: HeardVantage, watched_ms: int = 600_000) -> ClientEvidence:
    return evidence(PLATFORM, SERVICES, said, watched_ms)


def of_web(found: ClientEvidence) -> tuple[ClientVerdict, str]:
    web = next(each for each in found.services if each.service == "web")
    return web.served, web.why


def test_all_is_served() -> None:
    found = judged(heard("fra-e1", web=GOOD, api=GOOD), heard("berlin", web=GOOD, api=GOOD))
    assert found.served is ClientVerdict.YES
    assert found.sentence == "served, asked from berlin, fra"
    assert (found.points, found.silent) == (2, ())
    api, web = found.services
    assert web.asked_from == api.asked_from == ("berlin", "fra")
    assert web.answered_by == {"berlin": ("ams",), "fra": ("ams",)}
    assert web.missed_from == ()
    assert api.answered_by == {}  # an instance of another service says nothing of it


def test_a_datacenter_that_there_is_not_has_answered_nobody() -> None:
    made_up = replace(GOOD, by={"web.atlantis.1-1": 20, "web.ams.1-1": 9, "web.": 1})
    (_, web) = judged(heard("berlin", web=made_up)).services
    assert web.answered_by == {"berlin": ("ams",)}


def test_what_nobody_gets_an_answer_of_is_not_served() -> None:
    found = judged(heard("fra-e1", web=DEAD, api=GOOD), heard("berlin", web=DEAD))
    assert of_web(found)[0] is ClientVerdict.NO
    assert found.served is ClientVerdict.NO
    assert found.sentence == (
        "web is not served: nobody gets an answer, asked from berlin, fra: "
        "198.51.100.1 port 80: Connection refused"
    )


def test_what_some_get_no_answer_of_is_partly_served_and_says_from_where() -> None:
    found = judged(heard("fra-e1", web=GOOD, api=GOOD), heard("ams-e1", web=DEAD))
    assert of_web(found) == (
        ClientVerdict.PARTLY,
        "from ams 198.51.100.1 port 80: Connection refused",
    )
    assert found.served is ClientVerdict.PARTLY
    assert found.services[1].missed_from == ("ams",)
    lossy = judged(heard("fra-e1", web=LOSSY))
    assert lossy.services[1].missed_from == ("fra",)
    assert of_web(lossy) == (
        ClientVerdict.PARTLY,
        "from fra 198.51.100.1 port 80: 4 of 30 not answered: no answer within 2000 ms",
    )


def test_without_anybody_who_asks_it_is_not_known() -> None:
    found = judged()
    assert found.served is ClientVerdict.UNKNOWN
    assert found.sentence == (
        "not known: no vantage point says anything now, and 1 that should are silent"
    )
    assert of_web(found)[0] is ClientVerdict.UNKNOWN


def test_what_was_said_long_ago_is_not_known_whatever_it_was() -> None:
    late = old_ms(PLATFORM) + 1
    for recent in (GOOD, DEAD):
        found = judged(heard("fra-e1", late, web=recent), heard("berlin", web=GOOD))
        assert of_web(found)[0] is ClientVerdict.YES
        assert found.silent == ("fra-e1",)
        alone = judged(heard("fra-e1", late, web=recent))
        assert of_web(alone)[0] is ClientVerdict.UNKNOWN
        assert alone.silent == ("berlin", "fra-e1")


def test_who_was_not_heard_yet_is_not_silent() -> None:
    assert judged(heard("fra-e1", web=GOOD), watched_ms=5000).silent == ()


def test_who_is_not_to_ask_any_more_is_not_silent() -> None:
    late = old_ms(PLATFORM) + 1
    said = heard("fra-e1", late, web=GOOD), heard("fra-n1", late, web=GOOD)
    for vantage, silent in (
        (VantageSpec(nodes=True), ("fra-e1", "fra-n1")),
        (VantageSpec(), ("fra-e1",)),
        (VantageSpec(datacenters=("ams",)), ()),
        (VantageSpec(off=True), ()),
    ):
        found = evidence(replace(PLATFORM, vantage=vantage), SERVICES, said, 600_000)
        assert found.silent == silent


def test_what_cannot_be_asked_is_not_known_and_says_why() -> None:
    unable = Recent(unable="no way to 198.51.100.1 from here: Network is unreachable")
    found = judged(heard("berlin", web=unable, api=GOOD))
    assert of_web(found) == (
        ClientVerdict.UNKNOWN,
        "it cannot be asked: no way to 198.51.100.1 from here: Network is unreachable",
    )
    assert found.served is ClientVerdict.YES
    assert "not known of web" in found.sentence


def test_a_service_that_nobody_may_ask_says_so() -> None:
    spec = replace(make_spec(), probe=Probe(kind=ProbeKind.EXEC, command=("ok",)))
    services: dict[str, Service] = {"web": make_service(spec)}
    found = evidence(PLATFORM, services, (heard("berlin"),), 0)
    assert found.services[0].why == "it has no port that everybody may ask by TCP"
    chosen = replace(PLATFORM, vantage=VantageSpec(services=("api",)))
    found = evidence(chosen, SERVICES, (), 0)
    assert "not among the services" in found.services[1].why


def test_one_failure_is_no_verdict() -> None:
    assert verdict_of(Recent()) is ClientVerdict.UNKNOWN
    assert verdict_of(Recent(asked=1, failed=1, in_a_row=1)) is ClientVerdict.UNKNOWN
    assert verdict_of(Recent(asked=9, failed=1, in_a_row=1)) is ClientVerdict.YES
    assert verdict_of(Recent(asked=9, failed=2, in_a_row=2)) is ClientVerdict.NO


def story(*outcomes: tuple[int, str]) -> ClientVerdict:
    """Return what is said after so many outcomes of each kind, in their order."""
    window = deque((AskOutcome(failure=how) for n, how in outcomes for _ in range(n)), WINDOW)
    return verdict_of(recent_of(window))


def test_an_outage_is_over_after_some_answers_in_a_row_and_not_only_when_it_is_forgotten() -> (
    None
):
    outage = ((20, ""), (10, "no answer"))
    assert story(*outage) is ClientVerdict.NO
    said = [story(*outage, (answers, "")) for answers in range(1, WINDOW)]
    assert said[: RECOVERED - 1] == [ClientVerdict.PARTLY] * (RECOVERED - 1)
    assert set(said[RECOVERED - 1 :]) == {ClientVerdict.YES}


def test_what_is_lost_again_and_again_is_not_over() -> None:
    lossy = ((5, ""), (1, "no answer")) * 5
    said = {story(*lossy, (answers, "")) for answers in range(6)}
    assert said == {ClientVerdict.PARTLY}


@given(
    ages=st.lists(st.integers(0, 300_000), max_size=4),
    recents=st.lists(st.sampled_from((GOOD, DEAD, LOSSY, Recent())), min_size=4, max_size=4),
)
def test_bad_is_only_what_somebody_says_now(ages: list[int], recents: list[Recent]) -> None:
    names = ("fra-e1", "ams-e1", "berlin", "fra-n1")
    said = [heard(names[i], age, web=recents[i]) for i, age in enumerate(ages)]
    served, why = of_web(judged(*said))
    now = [recents[i] for i, age in enumerate(ages) if age <= old_ms(PLATFORM)]
    verdicts = {verdict_of(each) for each in now}
    assert bool(why) == (served is not ClientVerdict.YES)
    if served in {ClientVerdict.NO, ClientVerdict.PARTLY}:
        assert verdicts & {ClientVerdict.NO, ClientVerdict.PARTLY}
    if served is ClientVerdict.UNKNOWN:
        assert verdicts <= {ClientVerdict.UNKNOWN}
