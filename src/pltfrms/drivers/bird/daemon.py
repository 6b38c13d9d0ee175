"""The routing daemon: its configuration files on disk and its control socket."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pltfrms.drivers.bird.control_socket import BirdReply, bird_connection
from pltfrms.drivers.bird.generations import STAMP, Generations, stamped
from pltfrms.drivers.bird.words import bfd_states, protocol_states, routes_counted
from pltfrms.drivers.tool import ToolFailedError, run_tool
from pltfrms.errors import ConflictError, InvariantError, UnavailableError
from pltfrms.model.network.peering import Reject
from pltfrms.model.running.machine import BfdState, BgpState
from pltfrms.model.running.state import OutsideTable

_CHECK_SECONDS = 30.0
"""For `bird -p`, which reads long prefix lists on a busy machine."""
_RECONFIGURED = 3
_IN_PROGRESS = 4
_QUEUED = 5
_SHUTTING_DOWN = 6
_NOTHING_TO_DO = 19
_VALUE = 23


class BirdDaemon:
    """A BIRD that runs with `-c START_CONFIG -s SOCKET`.

    `start_config` stands beside the socket, where a reboot removes it, and comes back with the
    first `apply`: a service manager that waits for it starts BIRD only once the machine has
    the addresses that BIRD binds to. It leads to `DIRECTORY/current/bird.conf`.

    `current` is a symbolic link to the generation (`gen-N`) in force; the last five stay for
    people to compare, those whose trial failed too. Each file ends with a constant that names
    its text, so that BIRD can be asked which text it runs.
    """

    def __init__(
        self,
        directory: Path = Path("/var/lib/pltfrms/bird"),
        socket: Path = Path("/run/pltfrms/bird.ctl"),
    ) -> None:
        """Remember where things are; nothing is opened."""
        self._files = Generations(directory)
        self._socket = socket
        self._turn = asyncio.Lock()
        self._trial: _Trial | None = None

    @property
    def config(self) -> Path:
        """The configuration in force."""
        return self._files.config

    @property
    def start_config(self) -> Path:
        """The file BIRD must be started with, once it is there."""
        return self._socket.with_name("bird.conf")

    async def apply(self, config: str, *, revert_after_seconds: int = 0) -> str:
        """Make `config` the configuration of BIRD; see `ports.Bird.apply`.

        Raises also:
            UnavailableError: it should be tried, and BIRD does not answer; nothing is changed.
            ConflictError: another one is on trial; any further command would end BIRD's own
                way back.
        """
        async with self._turn:
            if self._trial is not None:
                raise ConflictError(f"{self._trial.generation.name} is on trial")
            if revert_after_seconds:
                return await self._try(config, revert_after_seconds)
            sentence = await self._apply(config)
            await asyncio.to_thread(self._offer)
            return sentence

    async def _apply(self, config: str) -> str:
        text, name = stamped(config)
        if await asyncio.to_thread(self._files.text) == text:
            return await self._tell_if_stale(name)
        previous = await asyncio.to_thread(self._files.current)
        generation = await self._new(text)
        try:
            await asyncio.to_thread(self._files.point_to, generation.name)
        except OSError:
            self._files.forget([generation])
            raise
        try:
            done = await self._configure()
        except InvariantError:
            await asyncio.to_thread(self._files.undo, previous)
            raise
        await asyncio.to_thread(self._files.forget_old)
        return f"{generation.name}: {done}"

    async def _new(self, text: str) -> Path:
        """Return a new generation that BIRD's own parser takes; else nothing is left of it."""
        generation = await asyncio.to_thread(self._files.write, text)
        command = ("bird", "-p", "-c", str(generation / "bird.conf"))
        try:
            await run_tool(*command, seconds=_CHECK_SECONDS)
        except UnavailableError as error:
            self._files.forget([generation])
            if isinstance(error, ToolFailedError):
                why = f"BIRD refuses the configuration: {error.said}"
                raise InvariantError(why) from error
            raise UnavailableError(f"BIRD cannot check the configuration: {error}") from error
        return generation

    # ---- trials ----------------------------------------------------------------------------

    async def _try(self, config: str, seconds: int) -> str:
        """Let BIRD read the new generation itself, while `current` still leads to the old one.

        So whatever ends now (we, BIRD, the machine), the old one comes back: BIRD's own timer
        undoes the trial, and a BIRD that starts again reads `current`.
        """
        text, name = stamped(config)
        runs = await self._stamp()  # before anything is written: is there a BIRD to try it?
        if runs == name and await asyncio.to_thread(self._files.text) == text:
            return "unchanged"
        # A text that BIRD refuses would cost it the memory of the one to go back to.
        generation = await self._new(text)
        command = f'configure "{generation / "bird.conf"}" timeout {seconds}'
        try:
            await self._reconfigure(command)
        except InvariantError:
            self._files.forget([generation])
            raise
        self._trial = _Trial(generation, name)
        return f"{generation.name}: on trial for {seconds} s"

    async def confirm(self) -> None:
        """Keep the configuration that is on trial; see `ports.Bird.confirm`.

        If we end between BIRD's confirmation and the new `current`, BIRD runs the new text
        and would start with the old one. The next `apply` finds the difference by the stamp.
        """
        async with self._turn:
            trial = self._trial
            if trial is None:
                return
            # A disk that refuses shall do so while BIRD still goes back.
            await asyncio.to_thread(self._files.prepare, trial.generation.name)
            async with bird_connection(self._socket) as connection:
                await connection.ask("configure confirm")
                stamp = _stamp_in(await connection.ask(f"eval {STAMP}"))
            self._trial = None
            if stamp != trial.name:
                raise ConflictError(f"{trial.generation.name} was reverted by BIRD itself")
            await asyncio.to_thread(self._files.point_to, trial.generation.name)
            await asyncio.to_thread(self._files.forget_old)

    async def revert(self) -> str:
        """Go back to what ran before the trial; see `ports.Bird.revert`."""
        async with self._turn:
            trial, self._trial = self._trial, None
            if trial is None:
                return "nothing is on trial"
            name = trial.generation.name
            try:
                return f"{name}: {await self._back(trial)}"
            except UnavailableError as error:
                return f"{name}: BIRD goes back by itself ({error})"

    async def _back(self, trial: "_Trial") -> str:
        if await self._stamp() != trial.name:
            return "BIRD has gone back by itself"
        await self._reconfigure("configure undo")
        if await self._stamp() == trial.name:  # somebody took its memory: `current` is the old
            await self._reconfigure("configure")
        return "reverted"

    async def running(self) -> str:
        """Return the text that BIRD runs, if it is one of ours; see `ports.Bird.running`."""
        try:
            name = await self._stamp()
        except UnavailableError:
            return ""
        return await asyncio.to_thread(self._files.text_called, name) if name else ""

    # ---- what BIRD knows -------------------------------------------------------------------

    async def sessions(self) -> tuple[BgpState, ...]:
        """Return the BGP sessions with their counts; see `ports.Bird.sessions`."""
        return await self._protocols("BGP")

    async def caches(self) -> tuple[BgpState, ...]:
        """Return the sessions with RPKI caches; see `ports.Bird.caches`."""
        return await self._protocols("RPKI")

    async def liveness(self) -> frozenset[BfdState]:
        """See `ports.Bird.liveness`."""
        async with bird_connection(self._socket) as connection:
            rows = (await connection.ask("show bfd sessions")).texts(1020)
        return bfd_states(rows)

    async def find_ways(self) -> None:
        """See `ports.Bird.find_ways`."""
        async with bird_connection(self._socket) as connection:
            await connection.ask("reload in 'ospf.underlay'")

    async def _protocols(self, kind: str) -> tuple[BgpState, ...]:
        async with bird_connection(self._socket) as connection:
            return protocol_states(await connection.ask("show protocols all"), kind)

    async def outside(self, own_asn: int) -> tuple[OutsideTable, ...]:
        """Let BIRD count the ways to the outside; see `ports.Bird.outside`."""
        everything = ((4, "0.0.0.0/0"), (6, "::/0"))
        return tuple([await self._outside(own_asn, *family) for family in everything])

    async def _outside(self, own_asn: int, version: int, default: str) -> OutsideTable:
        table = f"table master{version} primary where"
        usable = "source = RTS_BGP && dest = RTD_UNICAST"
        learned = f"net.len > 0 && bgp_large_community ~ [({own_asn}, 1, 3..7)]"
        async with bird_connection(self._socket) as connection:
            # Of a single prefix BIRD shows routes, and does not count.
            shown = await connection.ask(f"show route {default} {table} {usable}")
            counted = await connection.ask(f"show route {table} {usable} && {learned} count")
        return OutsideTable(
            version=version,
            default=any(text.startswith(f"{default} ") for _, text in shown.lines),
            routes=routes_counted(counted),
        )

    async def rejects(self, own_asn: int) -> Mapping[str, Mapping[int, int]]:
        """Count the refused routes of sessions with the outside; see `ports.Bird.rejects`.

        BIRD counts; no route is ever sent. It looks at all its routes for every question, so
        nothing is asked of sessions that refuse nothing, nor once all are accounted for.
        """
        refusing = [
            state
            for state in await self.sessions()
            if state.name.startswith("peer.") and state.filtered
        ]
        return {state.name: await self._rejects(state, own_asn) for state in refusing}

    async def _rejects(self, state: BgpState, own_asn: int) -> Mapping[int, int]:
        counts: dict[int, int] = {}
        for number in sorted(reason.number for reason in Reject):
            if sum(counts.values()) >= state.filtered:
                break
            async with bird_connection(self._socket) as connection:
                reply = await connection.ask(
                    f"show route filtered protocol '{state.name}'"
                    f" where ({own_asn}, 15, {number}) ~ bgp_large_community count"
                )
            if found := routes_counted(reply):
                counts[number] = found
        return counts

    def _offer(self) -> None:
        """Let BIRD be started."""
        if not self.start_config.is_symlink():
            self.start_config.parent.mkdir(parents=True, exist_ok=True)
            self.start_config.symlink_to(self.config)

    # ---- BIRD ------------------------------------------------------------------------------

    async def _tell_if_stale(self, name: str) -> str:
        try:
            stamp = await self._stamp()
        except UnavailableError:
            return "unchanged; BIRD is not running"
        if stamp == name:
            return "unchanged"
        return f"unchanged, but BIRD ran an older one: {await self._configure()}"

    async def _stamp(self) -> str:
        """Return the name of the text that BIRD runs; empty if it is none of ours."""
        async with bird_connection(self._socket) as connection:
            return _stamp_in(await connection.ask(f"eval {STAMP}"))

    async def _configure(self) -> str:
        """Tell BIRD to read its file again; InvariantError if it refuses."""
        try:
            return await self._reconfigure("configure")
        except UnavailableError as error:
            return f"in place for the next start of BIRD ({error})"

    async def _reconfigure(self, command: str) -> str:
        """Give the command and wait until it is carried out; InvariantError if BIRD refuses."""
        async with bird_connection(self._socket) as connection:
            reply = await connection.ask(command)
            if reply.code in {_IN_PROGRESS, _QUEUED}:
                return await connection.finish()
        if reply.code in {_RECONFIGURED, _NOTHING_TO_DO}:
            return "reconfigured"
        if reply.code == _SHUTTING_DOWN:
            raise UnavailableError("it is shutting down")
        raise InvariantError(f"BIRD refuses to reconfigure: {reply.last}")


@dataclass(frozen=True, slots=True)
class _Trial:
    """What BIRD reverts by itself unless it is confirmed."""

    generation: Path
    name: str
    """Of its text; see `generations.stamped`."""


def _stamp_in(reply: BirdReply) -> str:
    return reply.last if reply.code == _VALUE else ""
