"""Sites of different sizes have as many replicas as the operator wants there."""

from pltfrms.model.messages.api import Change
from pltfrms.model.services.replicas import replicas_of
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.placement.plan import make_plan
from pltfrms.specfile.load import load_directory
from tests.planner.world import settle
from tests.shapes.shapes import DIRECTORY
from tests.strategies import make_snapshot


def test_a_large_and_a_small_site_have_what_is_said_and_what_fits() -> None:
    platform, services, _ = load_directory(DIRECTORY / "replicas-per-site")
    assert platform is not None
    wanted = {spec.name: replicas_of(platform, spec) for spec in services}
    assert wanted == {"api": {"fra": 6, "ams": 3}, "web": {"fra": 4, "ams": 1}}
    change = Change(services=services)
    end = settle(apply_change(make_snapshot(platform), change).snapshot)
    assert make_plan(end).notes == ()
    assert len(end.allocations) == 14
