"""The routing daemon: its configuration files on disk and its control socket."""

import asyncio
import contextlib
import grp
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pltfrms.drivers.bird.control_socket import BirdReply, bird_connection
from pltfrms.drivers.bird.words import protocol_states, routes_counted
from pltfrms.errors import ConflictError, InvariantError, UnavailableError
from pltfrms.model.machine import BgpState
from pltfrms.model.peering import Reject
from pltfrms.model.state import OutsideTable

_KEPT_GENERATIONS = 5
_STAMP = "PLTFRMS_TEXT"
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
        self._directory = directory
        self._socket = socket
        self._turn = asyncio.Lock()
        self._trial: _Trial | None = None

    @property
    def config(self) -> Path:
        """The configuration in force."""
        return self._directory / "current" / "bird.conf"

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
        text, name = _stamped(config)
        if await asyncio.to_thread(self._read) == text:
            return await self._tell_if_stale(name)
        previous = await asyncio.to_thread(self._target)
        generation = await asyncio.to_thread(self._write, text)
        await self._check(generation)
        await asyncio.to_thread(self._point_to, generation.name)
        try:
            done = await self._configure()
        except InvariantError:
            await asyncio.to_thread(self._undo, previous)
            raise
        await asyncio.to_thread(self._forget_old)
        return f"{generation.name}: {done}"

    # ---- trials ----------------------------------------------------------------------------

    async def _try(self, config: str, seconds: int) -> str:
        """Let BIRD read the new generation itself, while `current` still leads to the old one.

        So whatever ends now (we, BIRD, the machine), the old one comes back: BIRD's own timer
        undoes the trial, and a BIRD that starts again reads `current`.
        """
        text, name = _stamped(config)
        runs = await self._stamp()  # before anything is written: is there a BIRD to try it?
        if runs == name and await asyncio.to_thread(self._read) == text:
            return "unchanged"
        generation = await asyncio.to_thread(self._write, text)
        # A text that BIRD refuses would cost it the memory of the one to go back to.
        await self._check(generation)
        command = f'configure "{generation / "bird.conf"}" timeout {seconds}'
        try:
            await self._reconfigure(command)
        except InvariantError:
            await asyncio.to_thread(shutil.rmtree, generation)
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
            async with bird_connection(self._socket) as connection:
                await connection.ask("configure confirm")
                stamp = _stamp_in(await connection.ask(f"eval {_STAMP}"))
            self._trial = None
            if stamp != trial.name:
                raise ConflictError(f"{trial.generation.name} was reverted by BIRD itself")
            await asyncio.to_thread(self._point_to, trial.generation.name)
            await asyncio.to_thread(self._forget_old)

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
        return await asyncio.to_thread(self._text_called, name) if name else ""

    # ---- what BIRD knows -------------------------------------------------------------------

    async def sessions(self) -> tuple[BgpState, ...]:
        """Return the BGP sessions with their counts; see `ports.Bird.sessions`."""
        return await self._protocols("BGP")

    async def caches(self) -> tuple[BgpState, ...]:
        """Return the sessions with RPKI caches; see `ports.Bird.caches`."""
        return await self._protocols("RPKI")

    async def liveness(self) -> frozenset[str]:
        """Return address, port, state and since when; see `ports.Bird.liveness`."""
        async with bird_connection(self._socket) as connection:
            rows = (await connection.ask("show bfd sessions")).texts(1020)
        return frozenset(" ".join(row.split()[:5]) for row in rows)

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

    async def _check(self, generation: Path) -> None:
        """Let BIRD's own parser judge the file; remove the generation if it says no."""
        command = ("bird", "-p", "-c", str(generation / "bird.conf"))
        pipe, out = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        try:
            process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=out)
        except FileNotFoundError as error:
            await asyncio.to_thread(shutil.rmtree, generation)
            raise UnavailableError("BIRD is not installed: there is no `bird`") from error
        output, _ = await process.communicate()
        if process.returncode:
            await asyncio.to_thread(shutil.rmtree, generation)
            raise InvariantError(f"BIRD refuses the configuration: {output.decode().strip()}")

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
            return _stamp_in(await connection.ask(f"eval {_STAMP}"))

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

    # ---- files -----------------------------------------------------------------------------

    def _read(self) -> str | None:
        try:
            return self.config.read_text()
        except FileNotFoundError:
            return None

    def _text_called(self, name: str) -> str:
        for generation in reversed(self._generations()):
            config = (generation / "bird.conf").read_text().removesuffix(_ending(name))
            if _stamped(config)[1] == name:
                return config
        return ""

    def _target(self) -> str | None:
        try:
            return str((self._directory / "current").readlink())
        except FileNotFoundError:
            return None

    def _generations(self) -> list[Path]:
        numbered = {
            int(path.name.removeprefix("gen-")): path
            for path in self._directory.glob("gen-*")
            if path.name.removeprefix("gen-").isdecimal()
        }
        return [numbered[number] for number in sorted(numbered)]

    def _write(self, text: str) -> Path:
        """Write the text durably as a new generation, which nothing points to yet."""
        self._directory.mkdir(parents=True, exist_ok=True)
        last = self._generations()[-1:]
        number = int(last[0].name.removeprefix("gen-")) + 1 if last else 1
        generation = self._directory / f"gen-{number}"
        generation.mkdir()
        with os.fdopen(_open_private(generation / "bird.conf"), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _sync(generation)
        return generation

    def _point_to(self, name: str) -> None:
        new = self._directory / "current.new"
        new.unlink(missing_ok=True)
        new.symlink_to(name)
        new.replace(self._directory / "current")
        _sync(self._directory)

    def _undo(self, previous: str | None) -> None:
        """Point to what was there before, and remove the generation that was refused."""
        refused = self._target()
        if previous is None:
            (self._directory / "current").unlink()
        else:
            self._point_to(previous)
        if refused is not None:
            shutil.rmtree(self._directory / refused)

    def _forget_old(self) -> None:
        current = self._target()
        for generation in self._generations()[:-_KEPT_GENERATIONS]:
            if generation.name != current:  # a row of failed trials must not take it
                shutil.rmtree(generation)


@dataclass(frozen=True, slots=True)
class _Trial:
    """What BIRD reverts by itself unless it is confirmed."""

    generation: Path
    name: str
    """Of its text; see `_stamped`."""


def _stamped(config: str) -> tuple[str, str]:
    """Return the text to write, and the name of it that the text itself contains."""
    name = hashlib.sha256(config.encode()).hexdigest()[:16]
    return config + _ending(name), name


def _ending(name: str) -> str:
    return f'\n# Which text this is, for the agent to ask.\ndefine {_STAMP} = "{name}";\n'


def _stamp_in(reply: BirdReply) -> str:
    return reply.last if reply.code == _VALUE else ""


def _open_private(path: Path) -> int:
    """Make a file that only we and the user of BIRD can read: it may have passwords."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with contextlib.suppress(KeyError, PermissionError):
        os.fchown(file, -1, grp.getgrnam("bird").gr_gid)  # as distributions call it
    return file


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
