"""BIRD's configuration is rendered when something that it is made of changes, not all day."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pltfrms.agent.routing import rendered, routing
from pltfrms.agent.routing.rendered import Rendered
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.traffic import Override
from pltfrms.render.bird import policy_fingerprint, render_bird
from pltfrms.render.conditions import Conditions
from tests.agent.routing.test_routing import NEW, OLD, _bench, _target
from tests.simulation.virtual import run_virtual

QUIET_SECONDS = 300.0


@pytest.fixture
def renderings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Say what is rendered, for which machine."""
    found: list[str] = []

    def counted(render: Callable[..., str]) -> Callable[..., str]:
        def call(*words: object) -> str:
            found.append(f"{render.__name__} {words[1]}")
            return render(*words)

        return call

    monkeypatch.setattr(rendered, "render_bird", counted(render_bird))
    monkeypatch.setattr(rendered, "policy_fingerprint", counted(policy_fingerprint))
    monkeypatch.setattr(routing, "render_bird", counted(render_bird))
    return found


@pytest.mark.parametrize("machine", ["fra-e1", "fra-n1"])
def test_nothing_is_rendered_while_nothing_changes(renderings: list[str], machine: str) -> None:
    async def story() -> None:
        bench = _bench(OLD, machine)
        async with bench.life(30.0):
            await bench.order(_target(1, OLD, machine), seconds=30.0)
            assert renderings
            renderings.clear()
            await bench.passes(QUIET_SECONDS)
            for generation in range(2, 12):  # others' instances come and go
                await bench.order(_target(generation, replace(OLD), machine), seconds=5.0)
            assert renderings == []
            assert bench.status.generation == 11

    run_virtual(story())


def test_what_is_rendered_follows_all_that_it_is_made_of(renderings: list[str]) -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life(30.0):
            await bench.order(_target(1, OLD), seconds=30.0)
            before = bench.bird.configs[-1]
            renderings.clear()
            bench.pinger.rtt_ms = 30.0
            await bench.passes(40.0)
            costly = bench.bird.configs[-1]
            drain = Interventions(drains=(Drain(edge="fra-e1", since_ms=1, wait_ms=0),))
            await bench.order(_target(2, OLD, interventions=drain), seconds=15.0)
            assert len({before, costly, bench.bird.configs[-1]}) == 3
            assert renderings

    run_virtual(story())


def test_time_alone_changes_what_is_rendered_only_when_something_ends(
    renderings: list[str],
) -> None:
    platform = replace(OLD, traffic=(Override(prepend=2, until_ms=2_000),))
    words = Rendered("fra-e1")

    def text(now_ms: int) -> str:
        return words.text(platform, Conditions(now_ms=now_ms))

    with_it = text(1_000)
    assert text(1_999) == with_it
    assert len(renderings) == 1
    without = text(2_000)
    assert without != with_it
    assert text(1_500) == with_it, "the clock went back"
    assert [text(now) for now in (2_001, 60_000, 1_999)] == [without, without, with_it]
    assert len(renderings) == 2
    assert words.text(NEW, Conditions(now_ms=2_001)) == with_it, "it never ends there"
    assert len(renderings) == 3
