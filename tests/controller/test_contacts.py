"""Contact over time, as one controller sees it. TTL is 4 s."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.controller.contact.contacts import (
    Contacts,
    why_most_rather_unheard,
    why_rather_unheard,
)
from pltfrms.drivers.store.ports import LeaseTime
from pltfrms.model.running.state import Contact
from pltfrms.planner.placement.evidence import Evidence

TTL = 4


class Story:
    """Observations of one machine, `a`, and what edges say of it."""

    def __init__(self) -> None:
        self.contacts = Contacts()
        self.evidence = Evidence()

    def see(self, at: float, lease: int = 0) -> Contact:
        leases = {"a": lease} if lease else {}
        self.contacts.observe(at, TTL, {"a": "fra"}, leases, {"a": self.evidence})
        return self.contacts.views(at)["a"].contact

    def watch(self, since: float, until: float, lease: int = 0) -> Contact:
        at, contact = since, self.see(since, lease)
        while at < until:
            at += 0.5
            contact = self.see(at, lease)
        return contact


def test_a_key_is_proof_at_once() -> None:
    assert Story().see(100.0, lease=1) is Contact.PRESENT


def test_absence_is_no_proof_before_two_ttl_of_watching() -> None:
    story = Story()
    assert story.watch(100.0, 108.5) is Contact.UNKNOWN
    assert story.watch(109.0, 110.0) is Contact.LOST


def test_absence_must_be_seen_twice() -> None:
    story = Story()
    story.watch(100.0, 120.0, lease=1)
    assert story.see(120.1) is Contact.UNKNOWN
    assert story.see(120.4) is Contact.UNKNOWN
    assert story.see(120.7) is Contact.LOST
    assert story.see(120.8, lease=2) is Contact.PRESENT


def test_a_gap_in_watching_starts_anew_but_keeps_what_was_lost() -> None:
    story = Story()
    story.watch(100.0, 120.0, lease=1)
    assert story.watch(130.0, 138.5) is Contact.UNKNOWN
    assert story.watch(139.0, 140.0) is Contact.LOST
    assert story.see(200.0) is Contact.LOST


def lost_for(story: Story, at: float) -> float:
    assert story.see(at) is Contact.LOST
    return story.contacts.views(at)["a"].since_seconds


def test_who_was_lost_before_a_gap_is_lost_for_long_only_once_it_could_be_heard() -> None:
    story = Story()
    story.watch(100.0, 120.0, lease=1)
    story.watch(120.5, 130.0)
    lost_at = 130.0 - lost_for(story, 130.0)
    assert lost_for(story, 2000.0) == 0.0  # it may be back for half an hour
    assert story.watch(2000.5, 2008.5) is Contact.LOST
    assert lost_for(story, 2008.5) == 8.5
    assert lost_for(story, 2009.0) == 2009.0 - lost_at
    story.contacts.doubt(2010.0)
    assert lost_for(story, 2011.0) == 1.0
    story.watch(2011.5, 2019.0)
    assert lost_for(story, 2019.0) == 2019.0 - lost_at


def test_a_new_lease_is_a_new_beginning() -> None:
    story = Story()
    story.watch(100.0, 120.0, lease=1)
    assert story.contacts.views(120.0)["a"].since_seconds == 20.0
    story.see(121.0, lease=2)
    assert story.contacts.views(122.0)["a"].since_seconds == 1.0


def test_an_older_observation_changes_nothing() -> None:
    story = Story()
    story.see(100.0, lease=1)
    assert story.see(99.0) is Contact.PRESENT


# ---- many at once ----------------------------------------------------------------------------

ALONE = Evidence(alone=True, idle=True)
MACHINES = {f"{site}-{kind}": site for site in ("fra", "lon", "ams") for kind in ("e1", "c1")}


class Crowd:
    """Observations of edges and controllers of three datacenters, without witnesses."""

    def __init__(self) -> None:
        self.contacts = Contacts()
        self.at = 100.0
        self.watch(20)

    def watch(self, seconds: float, *silent: str, evidence: Evidence = ALONE) -> set[str]:
        """Watch for a while in which some are silent; return who is lost at the end."""
        until = self.at + seconds
        leases = {name: 1 for name in MACHINES if name not in silent}
        said = dict.fromkeys(silent, evidence)
        while self.at < until:
            self.at += 0.5
            self.contacts.observe(self.at, TTL, MACHINES, leases, said)
        views = self.contacts.views(self.at)
        return {name for name, view in views.items() if view.contact is Contact.LOST}


def test_a_machine_without_a_witness_is_lost_a_ttl_after_its_lease() -> None:
    crowd = Crowd()
    assert crowd.watch(4, "fra-e1") == set()
    assert crowd.watch(1, "fra-e1") == {"fra-e1"}


def test_a_datacenter_that_falls_silent_is_judged_as_soon_as_one_machine() -> None:
    crowd = Crowd()
    assert crowd.watch(5, "fra-e1", "fra-c1") == {"fra-e1", "fra-c1"}


def test_machines_of_several_datacenters_that_fall_silent_at_once_are_not_lost() -> None:
    crowd = Crowd()
    silent = ("fra-e1", "lon-e1", "ams-c1")
    assert crowd.watch(8, *silent) == set()
    assert "3 machines of 3 datacenters fell silent within 9 s" in crowd.contacts.crowd(
        crowd.at
    )
    view = crowd.contacts.views(crowd.at)["fra-e1"]
    assert view.contact is Contact.UNKNOWN
    assert "machines of several datacenters fell silent at once" in view.why
    assert crowd.watch(2, *silent) == set(silent)
    assert crowd.contacts.crowd(crowd.at) == ""


def test_who_was_heard_again_says_what_the_silence_of_others_is_worth() -> None:
    crowd = Crowd()
    crowd.watch(2, "fra-e1", "lon-e1", "ams-c1")
    assert crowd.watch(5, "fra-e1") == set()


def test_those_that_go_on_and_off_hold_off_the_judgement_of_others_for_a_minute() -> None:
    crowd, waited = Crowd(), 0
    others = ("lon-e1", "lon-c1", "ams-e1")
    while not crowd.watch(2, "fra-e1", *(others if waited % 8 == 0 else ())):
        waited += 2
    assert 56 <= waited <= 62


def test_while_most_machines_of_each_datacenter_are_silent_nobody_is_lost_for_a_minute() -> (
    None
):
    """As when a controller hears nobody who has to come again by a new connection."""
    crowd, silent = Crowd(), tuple(MACHINES)
    assert crowd.watch(55, *silent) == set()
    assert "6 machines are silent, most of each of 3 datacenters" in crowd.contacts.crowd(
        crowd.at
    )
    assert crowd.watch(10, *silent) == set(silent)


def test_datacenters_that_are_silent_while_another_is_heard_are_lost_in_seconds() -> None:
    crowd = Crowd()
    silent = tuple(name for name, site in MACHINES.items() if site != "ams")
    assert crowd.watch(12, *silent) == set(silent)


@given(
    st.lists(st.sampled_from(["fra", "lon", "ams"])), st.lists(st.sampled_from(["fra", "lon"]))
)
def test_most_are_silent_where_no_datacenter_is_mostly_heard(
    silent: list[str], heard: list[str]
) -> None:
    said = why_most_rather_unheard(Counter(silent), Counter(heard))
    mostly_heard = [
        each for each in {*silent, *heard} if silent.count(each) <= heard.count(each)
    ]
    assert bool(said) == (len(set(silent)) > 1 and not mostly_heard)


def test_who_has_a_witness_against_it_is_lost_in_a_crowd_too() -> None:
    crowd = Crowd()
    silent = ("fra-e1", "lon-e1", "ams-c1")
    assert crowd.watch(1.5, *silent, evidence=Evidence()) == set(silent)


@given(st.lists(st.sampled_from(["fra", "lon", "ams"])), st.integers(1, 60))
def test_a_crowd_is_three_of_two_datacenters(datacenters: list[str], seconds: int) -> None:
    said = why_rather_unheard(datacenters, seconds)
    assert bool(said) == (len(datacenters) > 2 and len(set(datacenters)) > 1)
    assert not said or f"{len(datacenters)} machines of {len(set(datacenters))} " in said


# ---- the same once more ----------------------------------------------------------------------

SITES = {"a": "fra", "b": "lon"}
LEASES = ({"a": 1, "b": 2}, {"a": 1}, {"a": 3, "b": 2})
SAID: tuple[dict[str, Evidence], ...] = (
    {},
    {"a": Evidence(vanished=True)},
    {"b": Evidence(lives="edge fra-e1 hears it")},
)
LATE = LeaseTime(remaining_seconds=1, granted_seconds=TTL)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.5, 0.5, 1.0, 6.0]),
            st.sampled_from([0, 0, 0, 1, 2]),
            st.sampled_from([0, 0, 0, 1, 2]),
            st.sampled_from(["", "", "", "hear", "lose", "doubt"]),
        ),
        max_size=60,
    )
)
def test_what_is_the_same_as_before_is_judged_as_if_it_were_new(
    story: list[tuple[float, int, int, str]],
) -> None:
    same, anew, at = Contacts(), Contacts(), 100.0
    for seconds, leases, said, what in story:
        at += seconds
        same.observe(at, TTL, SITES, LEASES[leases], SAID[said])
        anew.observe(at, TTL, dict(SITES), dict(LEASES[leases]), dict(SAID[said]))
        for each in (same, anew):
            if what == "hear":
                each.hear("a", at, LATE)
            elif what == "lose":
                each.lose("a", at)
            elif what == "doubt":
                each.doubt(at)
        assert same.views(at) == anew.views(at)
        assert same.words() == {name: view.contact for name, view in anew.views(at).items()}
        assert same.suspects(at) == anew.suspects(at)
        assert same.is_overdue("a", at, 1.0) == anew.is_overdue("a", at, 1.0)
