"""A directory that has all of a label: what is not in it goes, and nothing of others."""

from dataclasses import replace

import pytest

from pltfrms.errors import ConflictError, UsageError
from pltfrms.model.messages.api import Change
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import ServiceSpec
from pltfrms.planner.changes.change import Outcome, apply_change
from tests.strategies import make_platform, make_snapshot, make_spec

SHOP = ("group", "shop")


def of_shop(name: str) -> ServiceSpec:
    return replace(make_spec(name, replicas=1), group="shop")


def of_core(name: str) -> ServiceSpec:
    return replace(make_spec(name, replicas=1), labels=(("team", "core"),))


def running() -> Snapshot:
    before = make_snapshot(make_platform({"fra": 2}))
    specs = (of_shop("web"), of_shop("api"), of_core("dns"), make_spec("plain", replicas=1))
    return apply_change(before, Change(services=specs)).snapshot


def prune(*specs: ServiceSpec, label: tuple[str, str] = SHOP) -> Outcome:
    return apply_change(running(), Change(services=specs, prune=label))


def test_what_is_not_named_any_more_goes_and_what_others_own_stays() -> None:
    outcome = prune(of_shop("web"), of_shop("new"))
    assert outcome.deleted == ("api",)
    assert set(outcome.snapshot.services) == {"web", "new", "dns", "plain"}
    assert [(line.about, line.action) for line in outcome.lines] == [
        ("service/new", "create"),
        ("service/api", "delete"),
    ]
    again = Change(services=(of_shop("web"), of_shop("new")), prune=SHOP)
    assert apply_change(outcome.snapshot, again).lines == ()


def test_labels_are_pruned_by_as_well() -> None:
    outcome = prune(of_core("ntp"), label=("team", "core"))
    assert outcome.deleted == ("dns",)


def test_nothing_to_be_left_is_refused_as_an_empty_list() -> None:
    with pytest.raises(UsageError, match="empty_is_error"):
        prune()


def test_what_lacks_the_label_is_refused_as_nobody_would_prune_it() -> None:
    with pytest.raises(UsageError, match="service plain: is not group=shop"):
        prune(of_shop("web"), make_spec("plain", replicas=1))


def test_what_others_own_is_not_taken_by_pruning() -> None:
    theirs = replace(of_shop("dns"), labels=(("team", "edge"),))
    with pytest.raises(ConflictError, match="dns is team=core"):
        prune(theirs, label=("team", "edge"))
    ours = replace(make_spec("plain", replicas=1), group="shop")
    assert prune(of_shop("web"), of_shop("api"), ours).deleted == (), "nobody had it"


def test_without_prune_nothing_goes() -> None:
    assert apply_change(running(), Change(services=(of_shop("web"),))).deleted == ()


def test_another_label_is_no_other_version_and_nodes_hear_nothing_of_it() -> None:
    before = running()
    other = replace(of_shop("web"), labels=(("team", "edge"),), group="other")
    after = apply_change(before, Change(services=(other,))).snapshot.services["web"]
    assert after.version == before.services["web"].version
    assert after.plain == before.services["web"].plain
