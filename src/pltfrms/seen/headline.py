"""The first sentence: how the platform is. Pure."""

from collections.abc import Iterator, Sequence, Sized

from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.messages.picture import Headline, Level, Seen, ServiceElement
from pltfrms.model.running.redundancy import Loss, Redundancy, Survival, Weakness
from pltfrms.model.running.vantage import ClientVerdict
from pltfrms.seen.clients import clients_line, served_so

_BESIDE = ("datacenter/", "backbone")
"""Whose weaknesses others make up for: clients are still answered."""
_NAMED = 3


def headline(
    view: SnapshotView, services: Sequence[ServiceElement], troubles: Sized
) -> Headline:
    """Return the level and a sentence for it; `troubles` is all that is not as it should be."""
    survived = redundancy_sentence(view.redundancy) if view.redundancy else ""
    level, sentence = _level(view, services, len(troubles))
    return Headline(
        level=level, sentence=sentence, redundancy=survived, clients=clients_line(view)
    )


def _level(
    view: SnapshotView, services: Sequence[ServiceElement], troubles: int
) -> tuple[Level, str]:
    if view.stale_seconds:
        return Level.UNKNOWN, (
            "the store does not answer: this is what was known last; nothing is decided, and "
            "what runs goes on"
        )
    if failing := _failing(view, services):
        return failing
    if view.redundancy and view.redundancy.survival is Survival.NOT_SURVIVED:
        return Level.REDUNDANCY_LOST, f"{_answering(view)}; one more failure may end that"
    if not troubles:
        return Level.FINE, "all is well" if services else "all is well; there is no service yet"
    some = "1 thing is" if troubles == 1 else f"{troubles} things are"
    return Level.DEGRADED, f"{_answering(view)}; {some} not as it should be"


def _answering(view: SnapshotView) -> str:
    partly = served_so(view, ClientVerdict.PARTLY)
    if partly:
        return f"not all clients of {_names(partly)} are answered"
    return "all services answer"


def _failing(
    view: SnapshotView, services: Sequence[ServiceElement]
) -> tuple[Level, str] | None:
    """Return what is said of services that serve nobody, or may not; None: all serve."""
    if nobody := served_so(view, ClientVerdict.NO):
        return Level.FAILING, f"no vantage point gets an answer of {_names(nobody)}"
    down = [each for each in services if each.wanted and not each.ready]
    if dead := [each.id for each in down if not each.unknown]:
        return Level.FAILING, f"no replica of {_names(dead)} is ready"
    if nobodys := list(_nobodys(services)):
        return Level.FAILING, f"nobody has the role {_names(nobodys)}"
    if down:
        names = _names([each.id for each in down])
        return Level.UNKNOWN, f"whether {names} still serves is not known"
    return None


def _nobodys(services: Sequence[ServiceElement]) -> Iterator[str]:
    """Yield the roles that one alone may have, and nobody has: their clients are refused."""
    for service in services:
        for role in service.roles:
            if role.state is Seen.BAD and not role.shared:
                yield f"{role.id} of {service.id}"


def redundancy_sentence(found: Redundancy) -> str:
    """Return whether one more failure is survived, and if not, which is not."""
    if found.survival is Survival.SURVIVED:
        return "one more failure is survived"
    worst = [
        each
        for each in found.weaknesses
        if each.survival is found.survival and not each.about.startswith(_BESIDE)
    ]
    words = "; ".join(f"{each.about} {loss_words(each)}" for each in worst[:_NAMED])
    more = f"; and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
    if found.survival is Survival.NOT_KNOWN:
        return f"it is not known whether one more failure is survived: {words}{more}"
    return f"one more failure is not survived: {words}{more}"


def loss_words(weakness: Weakness) -> str:
    """Return what is lost, in words."""
    if weakness.loss is Loss.NOTHING:
        return "as it is now"
    what = f" {weakness.what}" if weakness.what else ""
    return f"without {'' if what else 'any '}{weakness.loss}{what}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
