"""What may be done from the page, as it is looked at and done."""

from dataclasses import dataclass, field, replace
from itertools import count
from typing import cast

import pytest

from pltfrms.cli.shared.page_actions import PageAction, PageActions, PageLook, PageWish
from pltfrms.codec import encode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import ConflictError, NotFoundError, TwoPeopleError, UsageError
from pltfrms.model.messages.api import InterventionChange, Verb
from pltfrms.model.messages.guards import Effect, Guard, RoutingChange, Verdict
from pltfrms.model.messages.requests import RequestState, Signed, Wanted
from pltfrms.model.services.rollouts import where_of
from tests.cli.test_rollout import UNDER_WAY, having
from tests.cli.world import NOW_MS, FakeController


@dataclass
class Desk:
    """The page's actions, over a stand-in of controllers."""

    controller: FakeController = field(default_factory=FakeController)

    def __post_init__(self) -> None:
        numbers = count(1)
        client = cast("OperatorClient", self.controller)
        self.actions = PageActions(client, "ada@laptop", lambda: f"ticket{next(numbers)}")

    def look(self, verb: str, kind: str = "", name: str = "") -> PageLook:
        return self.actions.look(PageAction(verb=verb, kind=kind, name=name))

    def do(self, look: PageLook, why: str = "because") -> str:
        return self.actions.do(PageWish(ticket=look.ticket, why=why)).sentence


@pytest.mark.parametrize("verb", [Verb.DRAIN, Verb.UNDRAIN])
@pytest.mark.parametrize("kind", ["edge", "node", "datacenter", "peer"])
def test_a_drain_is_tried_first_and_done_as_it_was_shown(verb: Verb, kind: str) -> None:
    desk = Desk()
    change = RoutingChange(
        session="transit1@fra-e1", what="-198.51.100.0/24", effect=Effect.MOVES
    )
    desk.controller.reply = replace(desk.controller.reply, routing=(change,))
    look = desk.look(verb.value, kind, "x1")
    assert look.lines == ("transit1@fra-e1: -198.51.100.0/24: moves traffic",)
    assert look.command == f"pltfrms {kind} {verb} x1 --why ..."
    assert desk.do(look, " new optics ") == "done, revision 7"
    tried, again, done = desk.controller.intervened
    assert tried == again == replace(done, dry_run=True, why="")
    assert getattr(done, kind) == "x1"
    assert (done.verb, done.why, done.by, done.despite) == (
        verb,
        "new optics",
        "ada@laptop",
        (),
    )


def test_a_freeze_names_nothing() -> None:
    desk = Desk()
    look = desk.look("freeze")
    assert look.command == "pltfrms network freeze --why ..."
    desk.do(look)
    assert desk.controller.intervened[-1].verb is Verb.FREEZE


def test_what_guards_forbid_has_no_ticket() -> None:
    desk = Desk()
    verdict = Verdict(
        guard=Guard.LAST_ANNOUNCER, about="198.51.100.0/24", sentence="nobody left"
    )
    desk.controller.reply = replace(desk.controller.reply, verdicts=(verdict,))
    look = desk.look("drain", "edge", "fra-e1")
    assert look.ticket == ""
    assert "guards forbid it" in look.refused
    assert "nobody left" in look.lines[-1]
    with pytest.raises(ConflictError):
        desk.do(look)
    assert [each.dry_run for each in desk.controller.intervened] == [True]


def test_what_two_people_do_and_what_is_so_already_has_no_ticket() -> None:
    desk = Desk()
    desk.controller.reply = replace(desk.controller.reply, two_people="it is the last edge")
    assert "it is the last edge" in desk.look("drain", "edge", "fra-e1").refused
    desk.controller.reply = replace(desk.controller.reply, two_people="", changed=False)
    assert desk.look("drain", "edge", "fra-e1").refused == "it is so already"


def test_what_does_something_else_by_now_is_not_done() -> None:
    desk = Desk()
    look = desk.look("drain", "edge", "fra-e1")
    change = RoutingChange(
        session="transit1@fra-e1", what="-198.51.100.0/24", effect=Effect.MOVES
    )
    desk.controller.reply = replace(desk.controller.reply, routing=(change,))
    with pytest.raises(ConflictError, match="look again"):
        desk.do(look)
    assert all(each.dry_run for each in desk.controller.intervened)


def test_what_became_forbidden_between_look_and_yes_is_not_done() -> None:
    desk = Desk()
    look = desk.look("drain", "edge", "fra-e1")
    desk.controller.two_people = "it is the last edge now"
    with pytest.raises(TwoPeopleError, match="the last edge now"):
        desk.do(look)


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "abort"])
def test_a_rollout_is_changed_only_where_it_was_seen(verb: str) -> None:
    desk = Desk(FakeController(snapshots=[having(UNDER_WAY)]))
    look = desk.look(verb, "service", "web")
    assert where_of(UNDER_WAY) in look.lines[0]
    assert look.command == f"pltfrms rollout {verb} web --why ..."
    desk.do(look, "reading its log")
    assert desk.controller.asked[-1] == f"{verb} web: reading its log"
    assert desk.controller.seen == where_of(UNDER_WAY)


def test_without_a_rollout_there_is_nothing_to_change() -> None:
    assert Desk().look("abort", "service", "web").refused == "there is no rollout under way"
    with pytest.raises(NotFoundError):
        Desk().look("abort", "service", "none")


def test_a_request_is_withdrawn_by_who_looks() -> None:
    desk = Desk()
    wanted = Wanted(
        platform="example",
        expires_ms=NOW_MS,
        intervention=InterventionChange(verb=Verb.DRAIN, datacenter="fra"),
    )
    asked = desk.controller.request(Signed(text=encode(wanted).decode(), signature="s"))
    look = desk.look("withdraw", "request", asked.request.id)
    assert asked.request.about in look.lines[0]
    assert look.command == f"pltfrms request withdraw {asked.request.id} --why ..."
    assert desk.do(look) == f"withdrawn: {asked.request.about}"
    closed = replace(asked.request, state=RequestState.WITHDRAWN)
    desk.controller.opened[:] = [replace(asked, request=closed)]
    assert desk.look("withdraw", "request", closed.id).refused == "it is withdrawn already"


@pytest.mark.parametrize("why", ["", "  ", "x" * 201])
def test_a_reason_is_asked_for_and_the_ticket_stays_good(why: str) -> None:
    desk = Desk()
    look = desk.look("freeze")
    with pytest.raises(UsageError, match="say why"):
        desk.do(look, why)
    desk.do(look)


def test_only_the_newest_looks_are_kept() -> None:
    desk = Desk()
    looks = [desk.look("freeze") for _ in range(40)]
    with pytest.raises(ConflictError):
        desk.do(looks[0])
    desk.do(looks[-1])


def test_a_command_is_one_that_a_shell_takes_as_it_is() -> None:
    assert Desk().look("drain", "edge", "a; b").command == (
        "pltfrms edge drain 'a; b' --why ..."
    )
