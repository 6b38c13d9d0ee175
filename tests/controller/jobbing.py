"""What an agent of the cluster does with runs of jobs: it obeys at once, by its own clock."""

from collections.abc import Sequence
from dataclasses import replace

from pltfrms.model.services.jobs import RunOrder, RunPhase, RunReason, RunStatus
from pltfrms.planner.jobs.holding import RunAction, RunClaim, action_for


class RunBook:
    """The runs of a machine. Records are on its disk: they stay when all else is lost."""

    def __init__(self) -> None:
        self.orders: tuple[RunOrder, ...] = ()
        self.claims: dict[str, RunClaim] = {}
        self.records: dict[str, RunStatus] = {}
        self.begun_at: dict[str, float] = {}
        """Of those that are alive, by the machine's clock."""
        self.began: list[str] = []
        """Every beginning, ever."""
        self._words = 0

    def look(self, now: float, seconds: float, code: int, *, lives: bool) -> None:
        """Do what is ordered; a run takes so long, and ends with that exit code."""
        for name, since in list(self.begun_at.items()):
            if now - since >= seconds:
                self._end(name, code, None)
        for order in self.orders if lives else ():
            self._obey(order, now)

    def _obey(self, order: RunOrder, now: float) -> None:
        run, since = order.run, self.begun_at.get(order.run.id)
        alive_ms = None if since is None else int((now - since) * 1000)
        action = action_for(
            order,
            self.claims.get(run.id),
            int(now * 1000),
            recorded=run.id in self.records,
            alive_ms=alive_ms,
        )
        if action is RunAction.ASK:
            self._words += 1
            claim = RunClaim(word=f"{run.node}/{self._words}", asked_ms=int(now * 1000))
            self.claims[run.id] = claim
        elif action is RunAction.REFUSE:
            self.records[run.id] = RunStatus(run=run.id, phase=RunPhase.NEVER)
        elif action is RunAction.BEGIN:
            self.began.append(run.id)
            self.begun_at[run.id] = now
            self.records[run.id] = RunStatus(
                run=run.id, phase=RunPhase.RUNNING, claim=run.claim, began_ms=int(now * 1000)
            )
        elif action is RunAction.END:
            why = RunReason.STOPPED if order.stop else RunReason.TOO_LONG
            self._end(run.id, 143, why)

    def boot(self) -> None:
        """Lose what is alive, and what is in memory."""
        for name in list(self.begun_at):
            self._end(name, None, None)
        self.claims, self.orders = {}, ()

    @property
    def statuses(self) -> tuple[RunStatus, ...]:
        """What to report."""
        told = {order.run.id for order in self.orders}
        asking = (
            RunStatus(run=name, phase=RunPhase.ASKING, claim=claim.word)
            for name, claim in self.claims.items()
            if name in told and name not in self.records
        )
        known = told | set(self.begun_at)
        said = (each for name, each in self.records.items() if name in known)
        return (*asking, *said)

    def _end(self, name: str, code: int | None, reason: RunReason | None) -> None:
        del self.begun_at[name]
        self.records[name] = replace(
            self.records[name], phase=RunPhase.ENDED, exit_code=code, reason=reason
        )


def every_begun(books: Sequence[RunBook]) -> list[str]:
    """Return every beginning, on whatever machine."""
    return sorted(name for book in books for name in book.began)
