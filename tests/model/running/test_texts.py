"""Texts of any length are cut, and what is decided by stays."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.codec import encode, first_that_fits
from pltfrms.model.messages.api import Event
from pltfrms.model.running.state import InstanceStatus, MachineStatus, Phase, SessionStatus
from pltfrms.model.running.texts import (
    STATUS_BYTES_MAX,
    TEXT_MAX,
    shortened,
    smaller_statuses,
    with_short_texts,
)
from tests.versions import make_rich_status

LONG = "\x01" * 500_000


@given(st.text(), st.integers(min_value=0, max_value=60))
def test_a_shortened_text_is_short_and_says_so(text: str, most: int) -> None:
    short = shortened(text, most)
    assert short == text or len(short) <= max(most, len(f"... ({len(text)} characters)"))
    assert (short == text) == (len(text) <= most)
    assert short == text or short.endswith(f"... ({len(text)} characters)")


def test_every_text_of_a_word_is_cut_and_nothing_else_is_changed() -> None:
    status = make_rich_status()
    assert with_short_texts(status) == status
    (session,) = status.sessions
    long = replace(status, sessions=(replace(session, detail=LONG),), problems=(LONG, "two"))
    short = with_short_texts(long)
    assert len(short.problems[0]) == len(short.sessions[0].detail) == TEXT_MAX
    assert replace(short, problems=(), sessions=()) == replace(status, problems=(), sessions=())
    event = Event(at_ms=1, source=LONG, about=LONG, what=LONG, reason=LONG, detail=LONG)
    assert len(encode(with_short_texts(event))) < 40_000


def test_a_status_of_any_size_fits_and_keeps_what_is_decided_by() -> None:
    instances = tuple(
        InstanceStatus(allocation=f"web.fra.{n}-1", phase=Phase.READY, detail=LONG[:5000])
        for n in range(254)
    )
    wordy = MachineStatus(
        machine="fra-n1",
        version="0.2.0",
        recovery="5eed",
        instances=instances,
        problems=(LONG,) * 9,
    )
    crowded = replace(
        wordy, sessions=tuple(SessionStatus(name=f"s{n}", up=True) for n in range(9999))
    )
    phases = [(each.allocation, each.phase) for each in instances]
    for status in (wordy, crowded):
        fitted, text = first_that_fits(smaller_statuses(status), STATUS_BYTES_MAX)
        assert len(text) <= STATUS_BYTES_MAX
        assert (fitted.version, fitted.recovery) == ("0.2.0", "5eed")
        assert [(each.allocation, each.phase) for each in fitted.instances] == phases
        assert any("too long" in problem for problem in fitted.problems)
    assert first_that_fits(smaller_statuses(crowded), STATUS_BYTES_MAX)[0].sessions == ()
    absurd = replace(wordy, instances=instances * 100)
    fitted, text = first_that_fits(smaller_statuses(absurd), STATUS_BYTES_MAX)
    assert (fitted.machine, fitted.recovery, fitted.instances) == ("fra-n1", "5eed", ())
    assert len(text) <= STATUS_BYTES_MAX


def test_a_status_that_is_small_enough_stays_as_it_is() -> None:
    status = make_rich_status()
    assert first_that_fits(smaller_statuses(status), STATUS_BYTES_MAX)[0] is status
