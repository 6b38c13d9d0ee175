"""Members come and go one step at a time, and no step of ours takes the quorum away."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.messages.store import (
    NO_SPACE,
    MemberData,
    StoreAlarm,
    StoreLook,
    StoreMember,
    StoreMembers,
)
from pltfrms.planner.upkeep.membership import (
    FILLING_BYTES_PER_SECOND,
    LEARNER_SECONDS,
    Seats,
    next_change,
)
from pltfrms.planner.upkeep.starting import Start, decide_start
from pltfrms.planner.upkeep.upkeep import BEHIND_MAX, Past, Task, Work

NAMES = "abcde"


def peer(name: str) -> str:
    return f"http://[fd00::{name}]:2380"


def wanted(names: Iterable[str]) -> dict[str, str]:
    return {name: peer(name) for name in names}


def member(name: str, number: str = "", **others: object) -> StoreMember:
    base = StoreMember(name=name, number=number or f"1{name}", peer=peer(name), index=5000)
    return replace(base, **others)  # type: ignore[arg-type]


def look(*members: StoreMember) -> StoreLook:
    return StoreLook(revision=100, members=members)


def change(
    seen: StoreLook, names: str, asking: dict[str, str] | None = None, past: Past | None = None
) -> Task | None:
    past = past or Past(since=0.0)
    past = past.seen(seen, 0.0).seen(seen, 5.0)
    return next_change(seen, Seats(wanted=wanted(names), asking=asking or {}), past, 5.0)


def told(task: Task | None) -> str:
    return f"{task.work} {task.member}" if task else ""


LEADER = member("a", leader=True)
ABC = Seats(wanted=wanted("abc"))
THREE = (LEADER, member("b"), member("c"))


def test_a_controller_that_asks_is_added_as_a_learner_and_one_that_does_not_is_waited_for() -> (
    None
):
    assert change(look(LEADER), "abc") is None
    task = change(look(LEADER), "abc", {"c": "", "b": ""})
    assert task
    assert told(task) == "add b"
    assert task.peer == peer("b")
    assert change(look(LEADER), "a", {"b": ""}) is None, "the platform does not have it"


@pytest.mark.parametrize(
    ("learner", "expected"),
    [
        (member("b", learner=True, started=False, trouble="no answer"), ""),
        (member("b", learner=True, index=5000 - BEHIND_MAX - 1), ""),
        (member("b", learner=True, trouble="no answer"), ""),
        (member("b", learner=True, index=5000 - BEHIND_MAX), "promote b"),
    ],
)
def test_a_learner_gets_a_vote_when_it_has_caught_up_and_nobody_else_is_added_before(
    learner: StoreMember, expected: str
) -> None:
    assert told(change(look(LEADER, learner), "abc", {"c": ""})) == expected


def test_a_learner_that_stays_away_makes_room_for_others() -> None:
    seen = look(LEADER, member("b", learner=True, index=0, trouble="no answer"))
    past = Past(since=0.0).seen(seen, 0.0)
    assert next_change(seen, ABC, past, LEARNER_SECONDS - 1) is None
    assert told(next_change(seen, ABC, past, LEARNER_SECONDS)) == "remove b"


def test_a_learner_has_time_while_it_comes_further() -> None:
    past, now, seen = Past(since=0.0), 0.0, look(LEADER)
    for index in range(0, 3000, 100):
        seen = look(LEADER, member("b", learner=True, index=index))
        past, now = past.seen(seen, now), now + LEARNER_SECONDS - 1
        assert next_change(seen, ABC, past, now) is None
    assert told(next_change(seen, ABC, past, now + 1)) == "remove b"


def test_a_learner_that_has_never_answered_has_time_by_the_size_of_the_store() -> None:
    size = 2_000 * FILLING_BYTES_PER_SECOND
    learner = member("b", learner=True, started=False, index=0, trouble="no answer")
    seen = look(replace(LEADER, file_bytes=size), learner)
    past = Past(since=0.0).seen(seen, 0.0)
    assert next_change(seen, ABC, past, LEARNER_SECONDS + 1999) is None
    assert told(next_change(seen, ABC, past, LEARNER_SECONDS + 2000)) == "remove b"


def test_a_dead_member_that_is_not_wanted_stays_while_another_one_is_being_filled() -> None:
    dead = member("c", trouble="dead")
    behind = member("d", learner=True, started=False, index=0, trouble="no answer")
    assert change(look(LEADER, member("b"), dead, behind), "abd") is None
    ready = member("d", learner=True)
    assert told(change(look(LEADER, member("b"), dead, ready), "abd")) == "remove c"
    assert told(change(look(LEADER, member("b"), dead, behind), "ab")) == "remove c"


def test_a_member_that_leaves_goes_when_those_that_stay_have_come() -> None:
    seen = look(*THREE, member("d"))
    assert told(change(seen, "abc")) == "remove d"
    assert change(seen, "abce") is None
    assert told(change(seen, "abce", {"e": ""})) == "add e"


def test_a_leader_that_leaves_lets_another_one_lead_first() -> None:
    seen = look(*THREE, member("d"))
    assert told(change(seen, "bcd")) == "move-leader b"
    past = replace(Past(since=0.0), unmovable=True)
    assert told(change(seen, "bcd", past=past)) == "remove a"


def test_a_member_without_its_data_is_removed_only_when_its_machine_says_so() -> None:
    silent = member("c", trouble="no answer")
    seen = look(*THREE[:2], silent)
    assert change(seen, "abc") is None
    assert told(change(seen, "abc", {"c": silent.number})) == "remove c"
    assert change(seen, "abc", {"c": "another"}) is None, "it was added anew since"
    assert change(look(*THREE), "abc", {"c": silent.number}) is None, "it answers"


@pytest.mark.parametrize(
    "seen",
    [
        StoreLook(revision=0, members=THREE),
        StoreLook(revision=1, members=THREE, strangers=("http://[fd00::9]:2379",)),
        StoreLook(revision=1, members=THREE, alarms=(StoreAlarm(member="a", what=NO_SPACE),)),
        look(member("a"), member("b"), member("c")),
        look(LEADER, member("b", leader=True), member("c")),
        look(LEADER, member("b", trouble="dead"), member("c", trouble="dead")),
    ],
)
def test_nothing_is_changed_while_it_is_not_known_that_all_would_go_on(seen: StoreLook) -> None:
    assert change(seen, "a", {"d": ""}) is None
    assert change(seen, "abcd", {"c": "1c", "d": ""}) is None


def test_a_dead_member_that_is_not_wanted_goes_before_anybody_is_added() -> None:
    seen = look(LEADER, member("b"), member("c", trouble="dead"))
    assert told(change(seen, "abd", {"d": ""})) == "remove c"
    assert change(look(LEADER, member("b", trouble="dead")), "a") is None


def test_nobody_well_goes_while_too_few_would_be_left() -> None:
    dead = (member("b", trouble="dead"), member("c", trouble="dead"))
    assert change(look(LEADER, *dead, member("d"), member("e")), "abc") is None
    alone = look(LEADER, member("b"), member("c", trouble="dead"))
    assert told(change(alone, "ab")) == "remove c"
    assert change(alone, "ac") is None


# ---- all together --------------------------------------------------------------------------


@dataclass
class World:
    """A store whose machines fail: those that are up and have data, and are members, vote."""

    wanted: str
    up: set[str] = field(default_factory=set)
    members: dict[str, StoreMember] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    """The number of the member that the data of a machine belongs to."""
    past: Past = field(default_factory=lambda: Past(since=0.0))
    now: float = 0.0
    numbers: int = 0
    leader: str = ""
    begun: set[str] = field(default_factory=set)
    """Numbers with which etcd has begun: without its data it ends whenever it is started."""

    def well(self, name: str) -> bool:
        it = self.members[name]
        return name in self.up and self.data.get(name) == it.number

    def quorum(self) -> bool:
        voters = [name for name, each in self.members.items() if not each.learner]
        return sum(map(self.well, voters)) > len(voters) // 2

    def elect(self) -> None:
        fit = [n for n, each in self.members.items() if not each.learner and self.well(n)]
        if self.leader not in fit:
            self.leader = fit[0] if fit and self.quorum() else ""

    def look(self) -> StoreLook:
        self.elect()
        members = (
            replace(
                each,
                leader=name == self.leader,
                trouble="" if self.well(name) else "no answer",
                index=each.index if self.well(name) else 0,
            )
            for name, each in self.members.items()
        )
        revision = 100 if self.quorum() else 0
        return StoreLook(revision=revision, members=tuple(members))

    def start_machines(self) -> dict[str, str]:
        """Start what is up as its own decision says; return who asks."""
        asking = {}
        listed = StoreMembers(members=tuple(self.members.values()))
        heard = (listed,) if self.quorum() else ()
        for name in sorted(self.up):
            if name in self.members and self.well(name):
                self.members[name] = replace(self.members[name], started=True)
                continue
            data = MemberData(number=self.data[name]) if name in self.data else None
            decision = decide_start(peer(name), heard, data=data, may_begin=False)
            if decision.obsolete:
                del self.data[name]
            if decision.start is Start.JOIN:
                number = self.members[name].number
                self.data[name] = "broken" if number in self.begun else number
                self.begun.add(number)
            if decision.start is Start.ASK:
                asking[name] = decision.lost
        return asking

    def step(self) -> Task | None:
        """Let everybody do one thing."""
        self.now += 5.0
        asking = self.start_machines()
        seen = self.look()
        self.past = self.past.seen(seen, self.now)
        task = next_change(
            seen, Seats(wanted=wanted(self.wanted), asking=asking), self.past, self.now
        )
        if task:
            self.do(task)
            self.past = self.past.done(task, self.now)
        return task

    def do(self, task: Task) -> None:
        assert self.quorum()
        if task.work is Work.ADD:
            assert not any(each.learner for each in self.members.values())
            assert all(map(self.well, self.members)), "etcd would refuse that"
            self.numbers += 1
            self.members[task.member] = member(
                task.member, str(self.numbers), learner=True, started=False
            )
        elif task.work is Work.MOVE_LEADER:
            self.leader = task.member
        else:
            it = self.members[task.member]
            assert it.number == task.number
            if task.work is Work.PROMOTE:
                self.members[task.member] = replace(it, learner=False)
            else:
                del self.members[task.member]
        assert self.quorum(), f"{task.sentence} took the quorum away"


def born() -> World:
    """One member, as bootstrapped."""
    world = World(wanted="a", up=set("a"), data={"a": "0"})
    world.members = {"a": member("a", "0")}
    return world


def settle(world: World) -> list[str]:
    tasks = [told(task) for _ in range(400) if (task := world.step())]
    assert sorted(world.members) == sorted(world.wanted)
    assert all(world.well(name) and not m.learner for name, m in world.members.items())
    return tasks


def test_from_one_to_three_to_five_and_back() -> None:
    world = born()
    world.up = set(NAMES)
    for names in ("abc", "abcde", "bde", "b", "cd", "abcde", "e"):
        world.wanted = names
        assert settle(world)
        assert settle(world) == []


FAULTS = st.sampled_from(("down", "up", "disk", "want", "rest", "rest", "rest"))


@given(
    st.lists(
        st.tuples(FAULTS, st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES), min_size=1)),
        max_size=40,
    )
)
def test_no_step_takes_the_quorum_away_and_all_ends_as_the_platform_wants(
    story: list[tuple[str, str, set[str]]],
) -> None:
    world = born()
    world.up = set(NAMES)
    for fault, name, names in story:
        before = (set(world.up), dict(world.data))
        if fault == "down":
            world.up.discard(name)
        elif fault == "up":
            world.up.add(name)
        elif fault == "disk":
            world.data.pop(name, None)
        elif fault == "want":
            world.wanted = "".join(sorted(names))
        if not world.quorum():  # faults alone took it away: that is not ours to prove
            world.up, world.data = before
        world.step()
    world.up = set(NAMES)
    settle(world)


def test_one_of_three_that_lost_its_disk_is_replaced_by_itself() -> None:
    world = born()
    world.up, world.wanted = set("abc"), "abc"
    settle(world)
    del world.data["b"]
    assert settle(world) == ["remove b", "add b", "promote b"]
