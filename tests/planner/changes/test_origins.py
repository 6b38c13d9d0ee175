"""What is announced for the first time, and what RPKI says of it."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.messages.guards import Doubt, Guard, Verdict
from pltfrms.model.network.peering import Allowed, OriginQuestion, Peer, PeerKind, Roa, Validity
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.network.traffic import Override
from pltfrms.planner.changes.guards import make_proposal
from pltfrms.planner.changes.origins import (
    Claim,
    answer,
    claims,
    file_answers,
    judge_claims,
    more_questions,
    questions,
)
from tests.planner.networks import FOUR, NETWORK, NOTHING, NOW_MS, make_session

NEW = ip_network("198.18.4.0/24")
ASN = NETWORK.asn
CUSTOMER = Peer(
    name="shop",
    kind=PeerKind.CUSTOMER,
    asn=64777,
    sessions=(make_session("fra-e1", 60),),
    allowed=(Allowed(prefix=ip_network("45.20.0.0/22"), max_length=24),),
    allowed_asns=(64778,),
)
WITH_NEW = replace(NETWORK, aggregates=(*NETWORK.aggregates, Aggregate(prefix=NEW)))
WITH_SHOP = replace(NETWORK, peers=(*NETWORK.peers, CUSTOMER))


def roa(prefix: str, asn: int = ASN, longest: int = 0) -> Roa:
    network = ip_network(prefix)
    return Roa(prefix=network, asn=asn, max_length=longest or network.prefixlen)


def claimed(after: Platform, before: Platform = NETWORK) -> tuple[Claim, ...]:
    return claims(make_proposal(before, after, NOTHING, NOTHING, NOW_MS))


def judged(after: Platform, *roas: Roa) -> tuple[Sequence[Verdict], Sequence[Doubt]]:
    wanted = claimed(after)
    return judge_claims(wanted, file_answers(wanted, roas), "?")


# ---- what is new ---------------------------------------------------------------------------


def test_only_what_was_not_announced_before_is_asked_about() -> None:
    assert claimed(NETWORK) == ()
    assert [claim.about for claim in claimed(WITH_NEW)] == [str(NEW)]
    silent = replace(NETWORK, traffic=(Override(announce=False, prefix=FOUR),))
    assert claimed(silent) == ()
    assert [claim.prefix for claim in claimed(NETWORK, silent)] == [FOUR]
    later = Override(announce=False, prefix=NEW, until_ms=NOW_MS + 1000)
    assert [claim.prefix for claim in claimed(replace(WITH_NEW, traffic=(later,)))] == [NEW]
    never = replace(WITH_NEW, traffic=(Override(announce=False, prefix=NEW),))
    assert claimed(never) == ()


def test_what_a_customer_may_announce_is_asked_about_when_it_changes() -> None:
    (claim,) = claimed(WITH_SHOP)
    assert (claim.about, claim.origins) == ("45.20.0.0/22 of shop", (64777, 64778))
    assert claimed(WITH_SHOP, WITH_SHOP) == ()
    longer = replace(CUSTOMER, allowed=(replace(CUSTOMER.allowed[0], max_length=23),))
    assert len(claimed(replace(NETWORK, peers=(*NETWORK.peers, longer)), WITH_SHOP)) == 1
    other = replace(CUSTOMER, allowed_asns=())
    assert len(claimed(replace(NETWORK, peers=(*NETWORK.peers, other)), WITH_SHOP)) == 1


def test_of_a_customer_that_nobody_sees_the_roa_must_name_us() -> None:
    real = replace(NETWORK, asn=8283)
    after = replace(real, peers=(*real.peers, CUSTOMER))
    (claim,) = claimed(after, real)
    assert claim.origins == (8283,)


def with_asn(platform: Platform, asn: int) -> Platform:
    """Return the platform with another ASN of ours on the first session of the first peer."""
    peer, *others = platform.peers
    first, *sessions = peer.sessions
    merged = replace(peer, sessions=(replace(first, local_as=asn), *sessions))
    return replace(platform, peers=(merged, *others))


def test_each_asn_of_ours_needs_a_roa_of_its_own() -> None:
    merged = with_asn(WITH_NEW, 64510)
    assert [(claim.about, claim.origins) for claim in claimed(merged)] == [
        *((f"{each.prefix} by AS64510", (64510,)) for each in NETWORK.aggregates),
        (str(NEW), (ASN,)),
        (f"{NEW} by AS64510", (64510,)),
    ]
    verdicts, _ = judged(merged, roa("198.18.4.0/24"))
    (verdict,) = verdicts
    assert verdict.about == f"{NEW} by AS64510"
    assert "not AS64510: make a ROA" in verdict.sentence
    assert claimed(merged, merged) == ()
    assert [claim.origins for claim in claimed(with_asn(NETWORK, 64509), merged)] == [
        (64509,),
        (64509,),
    ], "who the neighbour knows by a new ASN is asked about"


def test_whom_nobody_sees_is_each_of_us_for_the_neighbours() -> None:
    real = with_asn(replace(NETWORK, asn=8283), 8284)
    after = replace(real, peers=(*real.peers, CUSTOMER))
    found = {claim.about: claim.origins for claim in claimed(after, real)}
    assert found == {
        "45.20.0.0/22 of shop": (8283,),
        "45.20.0.0/22 of shop by AS8284": (8284,),
    }


# ---- what is said --------------------------------------------------------------------------


def test_a_roa_that_fits_exactly_says_nothing() -> None:
    assert judged(WITH_NEW, roa("198.18.4.0/24")) == ((), ())
    assert judged(WITH_SHOP, roa("45.20.0.0/22", 64778, 24)) == ((), ())


def test_another_origin_is_refused() -> None:
    ((verdict,), doubts) = judged(WITH_NEW, roa("198.18.0.0/16", 64999, 24))
    assert verdict == Verdict(
        guard=Guard.ROA,
        about=str(NEW),
        sentence=f"RPKI allows others to announce it, but not AS{ASN}: make a ROA",
    )
    assert doubts == ()


def test_a_max_length_that_is_too_short_is_refused_with_it() -> None:
    ((verdict,), _) = judged(WITH_NEW, roa("198.18.0.0/16", ASN, 20))
    assert verdict.sentence == (
        f"RPKI allows AS{ASN} nothing longer than /20, not /24: raise the maxLength"
    )


def test_no_roa_and_no_answer_are_doubts() -> None:
    (verdicts, (doubt,)) = judged(WITH_NEW, roa("192.0.2.0/24"))
    assert (verdicts, doubt.about) == ((), str(NEW))
    assert doubt.sentence.startswith("no ROA covers it")
    (verdicts, (doubt,)) = judge_claims(claimed(WITH_NEW), {}, "fra-e1 is silent")
    assert verdicts == ()
    assert doubt.sentence == "not known whether a ROA allows it: fra-e1 is silent"


def test_a_roa_that_allows_more_than_we_announce_is_remarked() -> None:
    (verdicts, (doubt,)) = judged(WITH_NEW, roa("198.18.4.0/24", ASN, 26))
    assert verdicts == ()
    assert doubt.sentence == (
        "its ROA allows parts that we never announce, such as 198.18.4.0/25: "
        "lower its maxLength to 24"
    )


def test_parts_of_a_customer_that_rpki_refuses_are_remarked() -> None:
    (verdicts, (doubt,)) = judged(WITH_SHOP, roa("45.20.0.0/22", 64777))
    assert verdicts == ()
    assert doubt.sentence == ("its parts may be up to /24 long, but RPKI refuses 45.20.0.0/24")


def test_a_roa_of_as0_allows_nobody() -> None:
    asked = (OriginQuestion(NEW, 0),)
    assert answer((roa(str(NEW), 0),), asked)[asked[0]] is Validity.INVALID


_ROAS = st.lists(
    st.builds(
        lambda length, asn, more: roa(
            str(ip_network((NEW.network_address, length), strict=False)), asn, length + more
        ),
        st.integers(12, 26),
        st.sampled_from([ASN, 64999]),
        st.integers(0, 6),
    ),
    max_size=4,
)


@given(_ROAS)
def test_what_is_said_follows_from_the_answer(roas: list[Roa]) -> None:
    verdicts, doubts = judged(WITH_NEW, *roas)
    covering = [r for r in roas if NEW.subnet_of(r.prefix)]  # type: ignore[arg-type] # both IPv4
    fits = [r for r in covering if r.asn == ASN and r.max_length >= NEW.prefixlen]
    assert bool(verdicts) == bool(covering and not fits)
    assert any("no ROA" in doubt.sentence for doubt in doubts) == (not covering)
    for verdict in verdicts:
        ours = [r.max_length for r in covering if r.asn == ASN]
        assert (f"longer than /{max(ours)}," in verdict.sentence) if ours else True


@given(_ROAS)
def test_two_rounds_of_questions_are_enough(roas: list[Roa]) -> None:
    wanted = claimed(WITH_NEW)
    known = file_answers(wanted, roas)
    asked = {*questions(wanted), *more_questions(wanted, known)}
    assert asked == known.keys()
    assert len(more_questions(wanted, known)) <= 20
