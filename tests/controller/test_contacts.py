"""Contact over time, as one controller sees it. TTL is 4 s."""

from pltfrms.controller.contact.contacts import Contacts
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
        self.contacts.observe(at, TTL, ["a"], leases, {"a": self.evidence})
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
