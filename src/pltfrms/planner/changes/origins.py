"""Whether RPKI allows what a change announces for the first time. Pure: it asks nobody.

First `questions`, then `more_questions` about the answers, then `judge_claims`. Answers come
from an edge's ROA table or from a file of ROAs (`answer`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from pltfrms.model.addresses import Prefix, contains
from pltfrms.model.messages.guards import Doubt, Guard, Verdict
from pltfrms.model.network.asns import own_asns, visible_origins
from pltfrms.model.network.peering import Allowed, OriginQuestion, Peer, PeerKind, Roa, Validity
from pltfrms.model.network.topology import Platform
from pltfrms.planner.changes.guards import Proposal

Answers = Mapping[OriginQuestion, Validity]
"""What is missing is not known."""
_SHORTEST: Final = {4: 8, 6: 12}
"""Prefixes that the internet carries, as in `render.routing.outside`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A prefix that is to be announced for the first time, or in a new way."""

    prefix: Prefix
    origins: tuple[int, ...]
    """One of these announces it: we, or a customer and who is behind it."""
    customer: str = ""
    """Its name; empty: an aggregate of ours."""
    own_asn: int = 0
    """We are this AS for the neighbours that hear it; 0: that of the platform."""
    max_length: int
    """How long its announced parts may be."""

    @property
    def about(self) -> str:
        """`198.51.100.0/24`, with the customer's name if it is not ours."""
        whose = f" of {self.customer}" if self.customer else ""
        return f"{self.prefix}{whose}{f' by AS{self.own_asn}' if self.own_asn else ''}"

    @property
    def part(self) -> Prefix:
        """The first of its longest parts."""
        return _first(self.prefix, self.max_length)


def claims(proposal: Proposal) -> tuple[Claim, ...]:
    """Return what a change announces that was not announced before, at any moment."""
    return (*_our_claims(proposal), *_customer_claims(proposal))


def _our_claims(proposal: Proposal) -> Iterator[Claim]:
    before, after = own_asns(proposal.before), own_asns(proposal.after)
    moments = proposal.moments
    known = {(prefix, before[name]) for moment in moments for name, prefix in moment.before}
    wanted = {(prefix, after[name]) for moment in moments for name, prefix in moment.after}
    for aggregate in proposal.after.aggregates:
        prefix = aggregate.prefix
        for asn in _own_asns(proposal.after):
            if (prefix, asn) in wanted - known:
                yield Claim(
                    prefix=prefix,
                    origins=(asn,),
                    own_asn=_other(proposal.after, asn),
                    max_length=prefix.prefixlen,
                )


def _customer_claims(proposal: Proposal) -> Iterator[Claim]:
    old = {peer.name: peer for peer in proposal.before.peers}
    for peer in proposal.after.peers:
        if peer.kind is PeerKind.CUSTOMER:
            before = _allowed_before(proposal, old.get(peer.name))
            for allowed in peer.allowed:
                for asn, origins in _origins(proposal.after, peer).items():
                    if (allowed, frozenset(origins)) not in before:
                        yield Claim(
                            prefix=allowed.prefix,
                            origins=origins,
                            customer=peer.name,
                            own_asn=_other(proposal.after, asn),
                            max_length=allowed.max_length,
                        )


def _allowed_before(
    proposal: Proposal, peer: Peer | None
) -> frozenset[tuple[Allowed, frozenset[int]]]:
    """Return what a customer might announce before, with the origins that were seen."""
    if peer is None:
        return frozenset()
    every = _origins(proposal.before, peer).values()
    return frozenset(
        (allowed, frozenset(origins)) for allowed in peer.allowed for origins in every
    )


def _origins(platform: Platform, peer: Peer) -> Mapping[int, tuple[int, ...]]:
    """Return of whom a customer's routes come, by the ASN that we have for who hears them.

    That is the same for all who hear them, unless the customer is hidden behind us.
    """
    found: dict[tuple[int, ...], int] = {}
    for asn in _own_asns(platform):
        found.setdefault(visible_origins(platform, peer, asn), asn)
    return {asn: origins for origins, asn in found.items()}


def _own_asns(platform: Platform) -> tuple[int, ...]:
    """Return all ASNs of ours, that of the platform first."""
    return tuple(dict.fromkeys((platform.asn, *sorted(own_asns(platform).values()))))


def _other(platform: Platform, asn: int) -> int:
    return 0 if asn == platform.asn else asn


# ---- questions -----------------------------------------------------------------------------


def questions(wanted: Iterable[Claim]) -> tuple[OriginQuestion, ...]:
    """Return whether each claim is allowed, as questions."""
    return tuple(
        dict.fromkeys(_question(claim.prefix, n) for claim in wanted for n in claim.origins)
    )


def more_questions(wanted: Iterable[Claim], answers: Answers) -> tuple[OriginQuestion, ...]:
    """Return what has to be asked to say why a claim is not allowed, or if too much is."""
    return tuple(dict.fromkeys(q for claim in wanted for q in _further(claim, answers)))


def _further(claim: Claim, answers: Answers) -> Iterator[OriginQuestion]:
    said = _validity(claim, answers)
    if said is Validity.INVALID:
        yield from (_question(shorter, n) for shorter in _shorter(claim) for n in claim.origins)
    elif said is Validity.VALID and claim.customer:
        yield from (_question(claim.part, n) for n in claim.origins)
    elif said is Validity.VALID:
        yield _question(_half(claim), claim.origins[0])


def _shorter(claim: Claim) -> Iterator[Prefix]:
    """Yield what the prefix is part of, longest first."""
    shortest = min(_SHORTEST[claim.prefix.version], claim.prefix.prefixlen)
    for length in range(claim.prefix.prefixlen - 1, shortest - 1, -1):
        yield claim.prefix.supernet(new_prefix=length)


def _half(claim: Claim) -> Prefix:
    return _first(claim.prefix, claim.prefix.prefixlen + 1)


def _first(prefix: Prefix, length: int) -> Prefix:
    return ip_network((prefix.network_address, length))


def _question(prefix: Prefix, asn: int) -> OriginQuestion:
    return OriginQuestion(prefix, asn)


def answer(roas: Sequence[Roa], asked: Iterable[OriginQuestion]) -> Answers:
    """Return what a list of ROAs says, as RFC 6811 does."""
    return {question: _by_roas(roas, question) for question in asked}


def _by_roas(roas: Sequence[Roa], question: OriginQuestion) -> Validity:
    covering = [roa for roa in roas if contains(roa.prefix, question.prefix)]
    if not covering:
        return Validity.NOT_FOUND
    length = question.prefix.prefixlen
    allowed = any(roa.asn == question.asn and roa.max_length >= length for roa in covering)
    return Validity.VALID if allowed and question.asn else Validity.INVALID


def file_answers(wanted: Sequence[Claim], roas: Sequence[Roa]) -> Answers:
    """Return the answers to all questions about some claims, by a list of ROAs."""
    first = answer(roas, questions(wanted))
    return {**first, **answer(roas, more_questions(wanted, first))}


# ---- judging -------------------------------------------------------------------------------


def judge_claims(
    wanted: Iterable[Claim], answers: Answers, silence: str
) -> tuple[tuple[Verdict, ...], tuple[Doubt, ...]]:
    """Return what speaks against some claims, and what is not known or to be remarked.

    `silence` says why answers are missing, if some are.
    """
    verdicts: list[Verdict] = []
    doubts: list[Doubt] = []
    for claim in wanted:
        said = _validity(claim, answers)
        if said is Validity.INVALID:
            sentence = _why_invalid(claim, answers)
            verdicts.append(Verdict(guard=Guard.ROA, about=claim.about, sentence=sentence))
        elif sentence := _doubt(claim, said, answers, silence):
            doubts.append(Doubt(guard=Guard.ROA, about=claim.about, sentence=sentence))
    return tuple(verdicts), tuple(doubts)


def _validity(claim: Claim, answers: Answers) -> Validity | None:
    """Return the best that is said for any of the origins; None if that is not known."""
    return _best(claim.prefix, claim, answers)


def _best(prefix: Prefix, claim: Claim, answers: Answers) -> Validity | None:
    said = [answers.get(_question(prefix, n)) for n in claim.origins]
    if Validity.VALID in said:
        return Validity.VALID
    if None in said:
        return None
    return Validity.INVALID if Validity.INVALID in said else Validity.NOT_FOUND


def _why_invalid(claim: Claim, answers: Answers) -> str:
    who = " or ".join(f"AS{asn}" for asn in claim.origins)
    for shorter in _shorter(claim):
        if _best(shorter, claim, answers) is Validity.VALID:
            length = f"/{shorter.prefixlen}, not /{claim.prefix.prefixlen}"
            return f"RPKI allows {who} nothing longer than {length}: raise the maxLength"
    return f"RPKI allows others to announce it, but not {who}: make a ROA"


def _doubt(claim: Claim, said: Validity | None, answers: Answers, silence: str) -> str:
    if said is None:
        return f"not known whether a ROA allows it: {silence}"
    if said is Validity.NOT_FOUND:
        return "no ROA covers it: make one, so that nobody else can announce it"
    if claim.customer and claim.part != claim.prefix:
        refused = _best(claim.part, claim, answers) is Validity.INVALID
        what = f"its parts may be up to /{claim.max_length} long, but RPKI refuses {claim.part}"
        return what if refused else ""
    if not claim.customer and _best(_half(claim), claim, answers) is Validity.VALID:
        return (
            f"its ROA allows parts that we never announce, such as {_half(claim)}: "
            f"lower its maxLength to {claim.prefix.prefixlen}"
        )
    return ""
