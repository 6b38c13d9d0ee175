"""How a vantage point counts."""

from ipaddress import ip_address

from pltfrms.model.running.vantage import BOUNDS_MS, WINDOW, Recent, VantageQuestion
from pltfrms.model.services.service import Probe, ProbeKind
from pltfrms.planner.vantage.tallying import AskOutcome, Counted

QUESTION = VantageQuestion(
    service="web", address=ip_address("198.51.100.1"), probe=Probe(kind=ProbeKind.TCP, port=80)
)
GOOD, BAD = AskOutcome(took_us=3000), AskOutcome(failure="Connection refused")


def counted(*outcomes: AskOutcome) -> Counted:
    made = Counted.of(QUESTION)
    for each in outcomes:
        made.note(each)
    return made


def test_answers_are_counted_by_what_they_took() -> None:
    took = [AskOutcome(took_us=each) for each in (500, 2000, 2001, 999_000, 1_500_000)]
    tally = counted(*took, BAD).tally
    assert (tally.asked, tally.failed) == (6, 1)
    assert tally.latencies == (2, 1, 0, 0, 0, 0, 0, 1, 1)
    assert len(tally.latencies) == len(BOUNDS_MS) + 1
    assert round(tally.seconds, 4) == 2.5035


def test_the_window_says_how_it_went_lately() -> None:
    by = [
        AskOutcome(took_us=1000 * each, by=f"web.fra.{each % 2 + 1}-1") for each in range(1, 41)
    ]
    recent = counted(*by).tally.recent
    assert (recent.asked, recent.failed, recent.in_a_row) == (WINDOW, 0, 0)
    assert (recent.p50_us, recent.p99_us) == (25_000, 40_000)
    assert recent.by == {"web.fra.1-1": 15, "web.fra.2-1": 15}


def test_failures_in_a_row_end_with_an_answer() -> None:
    assert counted(BAD, GOOD, GOOD).tally.recent.answered_in_a_row == 2
    assert counted(GOOD, GOOD, BAD).tally.recent.answered_in_a_row == 0
    assert counted(GOOD, BAD, BAD, BAD).tally.recent.in_a_row == 3
    assert counted(BAD, BAD, GOOD).tally.recent.in_a_row == 0
    assert counted(BAD, BAD).tally.recent.failure == "Connection refused"


def test_what_cannot_be_asked_is_no_failure_and_ends_what_was_known() -> None:
    tally = counted(BAD, BAD, AskOutcome(unable="no way")).tally
    assert tally.recent == Recent(unable="no way")
    assert (tally.asked, tally.failed) == (2, 2)
    assert counted(AskOutcome(unable="no way"), GOOD).tally.recent.unable == ""


def test_only_a_turn_is_worth_telling_at_once() -> None:
    made = Counted.of(QUESTION)
    story = (GOOD, GOOD, BAD, BAD, BAD, GOOD, GOOD, AskOutcome(unable="no way"))
    assert [made.note(each) for each in story] == [
        *(False, False, True, True, False, True, False, True)
    ]
