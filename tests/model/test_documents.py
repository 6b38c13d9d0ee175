"""What the release before wrote must be read: to the store, to disks, and over HTTP.

`documents.json` has one document of each kind as that release wrote it. It is written anew for
each release, and never changed between two.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from pltfrms.codec import decode, decode_fully
from pltfrms.model.messages.api import (
    Change,
    Event,
    Heartbeat,
    HeartbeatReply,
    InterventionChange,
    SnapshotView,
)
from pltfrms.model.messages.requests import ChangeRequest, Wanted
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import Allocation, LastNumber, Permit, Target
from pltfrms.model.running.state import MachineStatus
from pltfrms.model.services.service import Service

DOCUMENTS = json.loads((Path(__file__).parent / "documents.json").read_text())
STORED = (Platform, Interventions, Service, Allocation, LastNumber)
WANTED = (*STORED, Change, InterventionChange, Wanted)
TOLD = (MachineStatus, Event, Heartbeat, HeartbeatReply, ChangeRequest, Permit, SnapshotView)


@pytest.mark.parametrize("kind", [*WANTED, *TOLD, Target])
def test_what_the_release_before_wrote_is_read(kind: type[Any]) -> None:
    text = json.dumps(DOCUMENTS[kind.__name__])
    assert isinstance(decode(kind, text), kind)
    if kind in WANTED or kind is Target:
        assert decode_fully(kind, text) == decode(kind, text)


def test_every_kind_has_a_document() -> None:
    assert DOCUMENTS.keys() == {kind.__name__ for kind in (*WANTED, *TOLD, Target)}
