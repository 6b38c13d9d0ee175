"""Reading the state costs what has changed."""

import asyncio
from dataclasses import replace

import pytest

from pltfrms import codec
from pltfrms.api.answers import SnapshotAnswers
from pltfrms.drivers.aside import Here
from pltfrms.model.api import SnapshotView
from pltfrms.model.plan import Note, Reason
from pltfrms.model.state import Snapshot
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
        make_platform({"fra": 2}),
        (make_service(make_spec()),),
        (make_allocation("web.fra.1-1", "fra-n1"),),
    ),
    interventions=make_rich_interventions(),
    statuses={"fra-n1": make_rich_status()},
    numbers={"web.fra.1": 4},
)


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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[object] = []

    def count(word: object, kind: object) -> bytes:
        encoded.append(word)
        return codec.encode(word, kind)

    monkeypatch.setattr("pltfrms.api.answers.encode", count)
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
