"""Waits grow with the load that they see, end in any case, and say who kept them waiting."""

import os
import threading
import time

import pytest

from pltfrms.errors import UnavailableError
from pltfrms.lab.processes.channel import Channel, GoneError
from pltfrms.lab.processes.patience import MOST, Patience, load_now, stretch


def test_patience_grows_with_the_load_and_is_bounded() -> None:
    assert stretch(0, 2) == stretch(2, 2) == 1
    assert stretch(20, 2) == 10
    assert stretch(1000, 2) == MOST


def test_the_load_of_this_machine_is_known() -> None:
    assert load_now() >= 1  # we run


def test_a_deadline_moves_away_while_the_load_grows_and_does_not_come_back() -> None:
    processors = os.cpu_count() or 1
    loads = iter([0.0, 4.0 * processors, 0.0])
    patience = Patience(10, lambda: next(loads))
    assert 39 < patience.left() <= 40
    assert 39 < patience.left() <= 40
    assert f"at a load of {4 * processors}" in patience.sentence


def test_an_unanswered_question_names_who_was_asked_and_what_it_did_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pltfrms.lab.processes.channel._PATIENCE_SECONDS", 0.01)
    ours, theirs = Channel.pair()
    ours.other = "process 1 of fra-n1"
    served = threading.Thread(target=theirs.serve, args=(lambda _question, _fds: {},))
    served.start()
    ours.put({"do": "status"})
    served.join()
    ours.answer()
    ours.put({"do": "boot"})
    with pytest.raises(
        GoneError, match=r"^process 1 of fra-n1 does not answer 'boot' .*last answered 'status'"
    ):
        ours.answer()
    theirs.close()
    with pytest.raises(GoneError, match="fra-n1"):
        ours.ask({"do": "boot"})
    ours.close()


def test_an_end_is_not_called_a_silence() -> None:
    ours, theirs = Channel.pair()
    ours.other = "the lab's root process"
    ours.put({"do": "machine"})
    theirs.close()
    with pytest.raises(UnavailableError, match=r"root process (has ended|is gone)"):
        ours.answer()
    ours.close()


def test_a_late_answer_on_a_busy_machine_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pltfrms.lab.processes.channel._PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr("pltfrms.lab.processes.channel._LOOK_SECONDS", 0.05)
    loads = iter([1.0, *[60.0] * 1000])
    monkeypatch.setattr(
        "pltfrms.lab.processes.channel.Patience", lambda s: Patience(s, lambda: next(loads))
    )
    ours, theirs = Channel.pair()

    def late() -> None:
        time.sleep(0.6)
        theirs.serve(lambda _question, _fds: {"pid": 7})

    thread = threading.Thread(target=late)
    thread.start()
    assert ours.ask({"do": "machine"})["pid"] == 7
    thread.join()
    ours.close()
    theirs.close()
