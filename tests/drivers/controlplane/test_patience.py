"""A store that elects a leader makes no command fail."""

import threading
import time

import pytest

from pltfrms import codec
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UnavailableError, UnclearError
from pltfrms.model.messages.api import Change, ErrorBody, PlanPreview
from pltfrms.model.running.plan import Plan
from tests.drivers.tiny_http import Answer, serving

PREVIEW = PlanPreview(revision=5, changes=(), plan=Plan(revision=5))
NO_STORE = Answer(
    status=503,
    body=codec.encode(
        ErrorBody(error="UnavailableError", message="the store is away", nothing_done=True)
    ),
)
UNCLEAR = Answer(
    status=503,
    body=codec.encode(ErrorBody(error="UnclearError", message="the store broke off")),
)


@pytest.mark.parametrize("method", ["plan", "apply"])
def test_who_says_that_nothing_is_done_is_asked_again_for_a_while(method: str) -> None:
    said: list[str] = []
    with (
        serving(NO_STORE) as one,
        OperatorClient([one.endpoint], on_wait=said.append) as client,
    ):
        elected = threading.Timer(
            0.5, setattr, (one, "answer", Answer(body=codec.encode(PREVIEW)))
        )
        elected.start()
        assert getattr(client, method)(Change()) == PREVIEW
        elected.join()
    assert 2 <= len(one.seen) <= 5
    assert "the store is away" in said[0]


def test_after_a_while_it_is_said_what_they_say() -> None:
    with (
        serving(NO_STORE) as one,
        OperatorClient([one.endpoint], patience_seconds=0.5) as client,
    ):
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="the store is away"):
            client.apply(Change())
        assert 0.5 <= time.monotonic() - began < 2
    assert len(one.seen) > 1


def test_what_is_perhaps_done_is_not_asked_for_again() -> None:
    with (
        serving(UNCLEAR) as one,
        OperatorClient([one.endpoint]) as client,
        pytest.raises(UnclearError),
    ):
        client.apply(Change())
    assert len(one.seen) == 1
