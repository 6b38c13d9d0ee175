"""Reading the state, and fetching targets, costs what has changed."""

import asyncio
from dataclasses import replace

import pytest

from pltfrms import codec
from pltfrms.api.routes.answers import SnapshotAnswers, TargetAnswers
from pltfrms.drivers.aside import Here
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.running.plan import Note, Reason, Target
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.placement.target import Makings
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
)
from tests.versions import make_rich_interventions, make_rich_status

SNAPSHOT = replace(
    make_snapshot(
        make_platform({"fra": 2, "ams": 1}),
        (make_service(make_spec()),),
        (make_allocation("web.fra.1-1", "fra-n1"),),
    ),
    interventions=make_rich_interventions(),
    statuses={"fra-n1": make_rich_status()},
    numbers={"web.fra.1": 4},
)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """All words that are encoded from now on."""
    words: list[object] = []

    def count(word: object, kind: object) -> bytes:
        words.append(word)
        return codec.encode(word, kind)

    monkeypatch.setattr("pltfrms.api.routes.answers.encode", count)
    return words


def _view(snapshot: Snapshot) -> SnapshotView:
    note = Note(about="web.fra.2", reason=Reason.NO_CAPACITY)
    return SnapshotView(controller="fra-c1", snapshot=snapshot, notes=(note,))


def test_the_answer_is_what_the_codec_says_whatever_was_answered_before() -> None:
    answers = SnapshotAnswers()
    other = replace(SNAPSHOT, statuses={}, now_ms=9, revision=8)
    for snapshot in (SNAPSHOT, other, SNAPSHOT, replace(SNAPSHOT, services={}), other):
        view = _view(snapshot)
        assert asyncio.run(answers.text_of(view, Here())) == codec.encode(view)


def test_the_state_is_encoded_once_for_each_change_and_not_for_each_reader(
    encoded: list[object],
) -> None:
    answers = SnapshotAnswers()
    asyncio.run(answers.text_of(_view(SNAPSHOT), Here()))
    encoded.clear()
    for now_ms in range(10):
        again = replace(SNAPSHOT, now_ms=now_ms, allocations=dict(SNAPSHOT.allocations))
        asyncio.run(answers.text_of(_view(again), Here()))
    heavy = (SNAPSHOT.platform, SNAPSHOT.allocations, SNAPSHOT.services, SNAPSHOT.statuses)
    assert [word for word in encoded if word in heavy] == []
    changed = replace(SNAPSHOT, statuses={})
    encoded.clear()
    asyncio.run(answers.text_of(_view(changed), Here()))
    assert [word for word in encoded if word in heavy] == []
    assert {} in encoded


def _targets(snapshot: Snapshot) -> list[Target]:
    makings = Makings(snapshot, 3)
    return [makings.target(machine.name, 0) for machine in snapshot.platform.managed]


def test_a_target_is_what_the_codec_says_whatever_others_were_told_before() -> None:
    answers = TargetAnswers()
    for snapshot in (SNAPSHOT, replace(SNAPSHOT, services={}, revision=8), SNAPSHOT):
        for target in _targets(snapshot):
            for answer in (target, target.news(0), target.news(3)):
                assert answers.text_of(answer) == codec.encode(answer)


def test_what_all_machines_are_told_is_encoded_once_for_all(encoded: list[object]) -> None:
    answers, targets = TargetAnswers(), _targets(SNAPSHOT)
    for target in targets:
        answers.text_of(target.news(0))
    edges = [target for target in targets if target.services and not target.allocations]
    assert encoded.count(targets[0].platform) == encoded.count(edges[0].balanced) == 1
    assert len(edges) > 1
    assert encoded.count(edges[0].services) == 1
