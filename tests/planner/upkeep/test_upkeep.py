"""What is done next to keep the store small: one thing at a time, and never where it hurts."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.messages.store import NO_SPACE, KindSize, StoreAlarm, StoreLook, StoreMember
from pltfrms.planner.upkeep.telling import Fullness, fullness, store_problems
from pltfrms.planner.upkeep.upkeep import (
    BEHIND_MAX,
    FREE_BYTES_MIN,
    FULL_PAUSE_SECONDS,
    HISTORY_SECONDS,
    MARK_SECONDS,
    PAUSE_SECONDS,
    ROUND_SECONDS,
    SHORT_HISTORY_SECONDS,
    WARN_SHARE,
    Past,
    Task,
    Work,
    next_task,
)

MB = 1_000_000
QUOTA = 2000 * MB
FULL = (StoreAlarm(member="a", what=NO_SPACE),)
LATE = 10_000.0


def member(name: str, file: int = 10, used: int = 10, *, leader: bool = False) -> StoreMember:
    return StoreMember(
        name=name,
        file_bytes=file * MB,
        used_bytes=used * MB,
        quota_bytes=QUOTA,
        leader=leader,
    )


def look(*members: StoreMember, full: bool = False, revision: int = 100) -> StoreLook:
    return StoreLook(revision=revision, members=members, alarms=FULL if full else ())


def three(file: int = 10, used: int = 10, *, full: bool = False) -> StoreLook:
    members = (member(name, file, used, leader=name == "a") for name in "abc")
    return look(*members, full=full)


def rested(seen: StoreLook) -> Past:
    """A past in which all is compacted, and nothing was done for long."""
    return Past(since=0.0, compacted=100, compacted_at=LATE - 1).seen(seen, LATE)


def play(
    seen: StoreLook, past: Past, seconds: float, kept_bytes: int | None = None
) -> tuple[list[Task], Past]:
    """Do for a while what is to be done, as if every work were done at once."""
    now, tasks = past.since, []
    while now < past.since + seconds:
        past = past.seen(seen, now)
        task = next_task(seen, past, now)
        if task:
            tasks.append(task)
            past = past.done(task, now)
            seen = after(seen, task, kept_bytes)
        now += 1
    return tasks, past


def after(seen: StoreLook, task: Task, kept_bytes: int | None) -> StoreLook:
    if task.work is Work.DISARM:
        return replace(seen, alarms=())
    members = seen.members
    if task.work is Work.MOVE_LEADER:
        members = tuple(replace(m, leader=m.name == task.member) for m in members)
    if task.work is Work.DEFRAGMENT:
        members = tuple(
            replace(m, file_bytes=kept_bytes or m.used_bytes) if m.name == task.member else m
            for m in members
        )
    return replace(seen, members=members)


def works(tasks: Sequence[Task]) -> list[str]:
    return [f"{task.work.value} {task.member}".strip() for task in tasks]


def test_a_small_store_is_left_alone_but_for_its_history() -> None:
    tasks, _ = play(three(), Past(since=0.0), 3600)
    assert set(works(tasks)) == {"compact"}
    assert len(tasks) <= 3600 / HISTORY_SECONDS


def test_history_is_kept_for_ten_minutes_and_for_one_when_room_is_scarce() -> None:
    for file, seconds in ((10, HISTORY_SECONDS), (1300, SHORT_HISTORY_SECONDS)):
        past, now, revision = Past(since=0.0), 0.0, 1
        told = []
        while now < 3600:
            seen = look(member("a", file, file, leader=True), revision=revision)
            past = past.seen(seen, now)
            task = next_task(seen, past, now)
            if task:
                assert task.work is Work.COMPACT
                age = now - (task.revision - 1)  # one revision a second
                assert seconds <= age < seconds + 2 * MARK_SECONDS
                told.append(now)
                past = past.done(task, now)
            now, revision = now + 1, revision + 1
        assert len(told) == pytest.approx(3600 / (seconds + MARK_SECONDS / 2), rel=0.3)
        assert len(past.marks) <= HISTORY_SECONDS / MARK_SECONDS + 2


def test_members_are_defragmented_one_after_the_other_and_the_leader_last() -> None:
    seen = three(400, 100)
    tasks, _ = play(seen, replace(rested(seen), since=LATE), 600)
    done = [line for line in works(tasks) if line != "compact"]
    assert done == ["defragment b", "defragment c", "move-leader b", "defragment a"]
    task = next(task for task in tasks if task.work is Work.DEFRAGMENT)
    assert task.why == "of 400 MB only 100 MB are in use"


def test_there_is_a_pause_between_two_works_that_a_member_feels() -> None:
    seen = three(400, 100)
    past = rested(seen).done(Task(work=Work.DEFRAGMENT, member="b", why=""), LATE)
    assert next_task(seen, past, LATE + PAUSE_SECONDS - 1) is None
    assert next_task(seen, past, LATE + PAUSE_SECONDS) is not None


@pytest.mark.parametrize(("file", "used"), [(120, 59), (63, 1), (400, 201)])
def test_what_gains_little_is_not_done(file: int, used: int) -> None:
    seen = three(file, used)
    worth = (file - used) * MB >= FREE_BYTES_MIN and file - used >= file / 2
    assert not worth
    assert next_task(seen, rested(seen), LATE) is None


def test_a_file_near_its_quota_is_worth_less_gain() -> None:
    assert next_task(three(1300, 1000), rested(three(1300, 1000)), LATE) is not None
    assert next_task(three(1300, 1200), rested(three(1300, 1200)), LATE) is None


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    "wrong",
    [
        replace(member("b", 400, 100), trouble="no answer"),
        replace(member("b", 400, 100), behind=BEHIND_MAX + 1),
        replace(member("b", 400, 100), leader=True),
    ],
)
def test_no_member_is_touched_while_another_one_is_not_well(
    wrong: StoreMember, *, full: bool
) -> None:
    seen = look(member("a", 1990, 100, leader=True), wrong, member("c", 400, 1), full=full)
    tasks, _ = play(seen, replace(rested(seen), since=LATE), 600)
    assert set(works(tasks)) <= {"compact"}


@pytest.mark.parametrize("used", [10, 1980])
def test_a_full_store_is_compacted_then_made_smaller_then_opened(used: int) -> None:
    """Members count what is in use when they write, and those of a full store do not."""
    seen = three(1990, used, full=True)
    tasks, past = play(seen, Past(since=0.0), 120, kept_bytes=10 * MB)
    assert works(tasks)[:6] == [
        "compact",
        "defragment b",
        "defragment c",
        "move-leader b",
        "defragment a",
        "disarm",
    ]
    assert tasks[0].revision == seen.revision
    assert past.full_since is None


def test_a_full_store_is_not_opened_with_little_room_while_more_can_be_made() -> None:
    seen = three(1700, 10, full=True)
    tasks, _ = play(seen, Past(since=0.0), 60)
    assert works(tasks)[-1] == "disarm"
    assert len(tasks) > 4


def test_a_store_full_of_what_is_needed_is_tried_again_each_minute_and_says_so() -> None:
    seen = three(1990, 1990, full=True)
    tasks, past = play(seen, Past(since=0.0), 600)
    assert "disarm" not in works(tasks)
    compactions = sum(task.work is Work.COMPACT for task in tasks)
    assert 2 <= compactions <= 600 / ROUND_SECONDS + 1
    kinds = {"/pltfrms/services/": KindSize(keys=7, bytes=1900 * MB)}
    (problem,) = store_problems(seen, kinds, past, None, 600.0)
    assert "/pltfrms/services/ (7 keys, 1900 MB)" in problem
    assert "--quota-backend-bytes" in problem


def test_a_leader_that_does_not_let_go_is_defragmented_all_the_same() -> None:
    seen = look(member("a", 400, 1, leader=True), member("b"), member("c"))
    past = rested(seen)
    first = next_task(seen, past, LATE)
    assert first is not None
    assert works([first]) == ["move-leader b"]
    later = LATE + PAUSE_SECONDS
    second = next_task(seen, past.done(first, LATE, well=False), later)
    assert second is not None
    assert works([second]) == ["defragment a"]


def test_a_store_of_one_member_is_defragmented_too() -> None:
    seen = look(member("a", 400, 1, leader=True))
    task = next_task(seen, rested(seen), LATE)
    assert task is not None
    assert works([task]) == ["defragment a"]


def test_a_store_that_was_set_back_is_not_compacted_by_old_marks() -> None:
    past = Past(since=0.0).seen(look(member("a"), revision=5000), 0.0)
    past = past.seen(look(member("a"), revision=20), HISTORY_SECONDS + 1)
    assert next_task(look(member("a"), revision=20), past, HISTORY_SECONDS + 1) is None


def test_one_sentence_says_that_the_store_is_full_and_what_is_done() -> None:
    seen = three(1990, 10, full=True)
    past = Past(since=0.0).seen(seen, 0.0)
    (problem,) = store_problems(seen, {}, past, next_task(seen, past, 0.0), 0.0)
    assert problem == (
        "it is full and takes no writes: nothing is decided or changed, and no news of "
        "machines are kept; what runs goes on. Room is being made: forget history before "
        "revision 100: the store is full"
    )
    away = replace(seen, members=(*seen.members[:2], replace(seen.members[2], trouble="dead")))
    past = past.seen(away, 1.0)
    assert len(store_problems(away, {}, past, None, 1.0)) == 1  # it may be an election
    problem, other = store_problems(away, {}, past.seen(away, 2.0), None, 2.0)
    assert "No room can be made while c is not well: dead; repair that first" in problem
    assert other.startswith("1 of 3 members of the store is gone (c: dead): one more failure")


@pytest.mark.parametrize(
    ("file", "level", "word"),
    [
        (100, Fullness.ROOM, ""),
        (1199, Fullness.ROOM, ""),
        (1200, Fullness.FILLING, "fills up"),
        (1600, Fullness.NEARLY_FULL, "nearly full"),
    ],
)
def test_who_looks_is_told_in_time(file: int, level: Fullness, word: str) -> None:
    seen = three(file, 10)
    assert fullness(seen) is level
    problems = store_problems(seen, {}, rested(seen), None, LATE)
    assert [word in problem for problem in problems] == [True] * bool(word)


def test_that_members_of_another_store_answer_is_told() -> None:
    seen = replace(three(), strangers=("http://[fd00::9]:2379",))
    (problem,) = store_problems(seen, {}, rested(seen), None, LATE)
    assert "another store answer at http://[fd00::9]:2379" in problem


def test_more_keys_than_anybody_has_tried_are_told() -> None:
    kinds = {"a": KindSize(keys=150_000), "b": KindSize(keys=50_000, bytes=9 * MB)}
    (problem,) = store_problems(three(), kinds, rested(three()), None, LATE)
    assert problem.startswith("it has 200000 keys")


# ---- for all stores ------------------------------------------------------------------------

MEMBERS = st.lists(
    st.builds(
        StoreMember,
        name=st.sampled_from("abcde"),
        file_bytes=st.integers(0, 2 * QUOTA),
        used_bytes=st.integers(0, QUOTA),
        quota_bytes=st.sampled_from([0, QUOTA]),
        leader=st.booleans(),
        behind=st.sampled_from([0, BEHIND_MAX + 1]),
        trouble=st.sampled_from(["", "", "", "no answer"]),
    ),
    max_size=5,
    unique_by=lambda each: each.name,
)
LOOKS = st.builds(
    StoreLook,
    revision=st.integers(0, 1000),
    members=MEMBERS.map(tuple),
    alarms=st.sampled_from([(), FULL]),
)
STEPS = st.lists(st.tuples(LOOKS, st.sampled_from([0.5, 1.0, 5.0, 61.0, 700.0])), max_size=30)


@given(STEPS)
def test_never_two_at_once_and_never_while_one_is_missing(
    steps: list[tuple[StoreLook, float]],
) -> None:
    past, now = Past(since=0.0), 0.0
    touched_at = 0.0
    for seen, pause in steps:
        now += pause
        past = past.seen(seen, now)
        task = next_task(seen, past, now)
        assert next_task(seen, past, now) == task
        if task is None:
            continue
        if task.work in {Work.DEFRAGMENT, Work.MOVE_LEADER}:
            assert all(not m.trouble and m.behind <= BEHIND_MAX for m in seen.members)
            assert sum(m.leader for m in seen.members) == 1
            (touched,) = (m for m in seen.members if m.name == task.member)
            assert touched.leader <= (task.work is Work.DEFRAGMENT)
            assert now - touched_at >= (FULL_PAUSE_SECONDS if seen.full else PAUSE_SECONDS)
            touched_at = now
        if task.work is Work.COMPACT:
            assert 0 < task.revision <= seen.revision
        if task.work is Work.DISARM:
            assert seen.full
            assert max(m.share for m in seen.members) < 1
        past = past.done(task, now)


@given(LOOKS)
def test_whatever_is_seen_is_told_in_sentences_and_never_twice(seen: StoreLook) -> None:
    past = Past(since=0.0).seen(seen, 1000.0)
    task = next_task(seen, past, 1000.0)
    problems = store_problems(seen, {}, past, task, 1000.0)
    assert len(set(problems)) == len(problems)
    assert seen.full == any("takes no writes: nothing" in problem for problem in problems)
    filling = max((m.share for m in seen.members), default=0.0) >= WARN_SHARE
    assert bool(problems) or not (seen.full or filling)
