"""The routing daemon: its configuration files on disk and its control socket."""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from pltfrms.errors import InvariantError, UnavailableError
from pltfrms.model.machine import BgpState

_KEPT_GENERATIONS = 5
_TIMEOUT_SECONDS = 10.0
"""For one answer of BIRD, which usually takes less than a millisecond."""
_POLL_SECONDS = 0.05
_POLLS = 100
_STAMP = "PLTFRMS_TEXT"
_CODE = re.compile(r"(\d{4})([ -])(.*)")
_SINCE = re.compile(r"^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(\.\d+)?|^\d{4}-\d\d-\d\d")
_RECONFIGURED = 3
_IN_PROGRESS = 4
_QUEUED = 5
_SHUTTING_DOWN = 6
_PROTOCOL = 1002
_VALUE = 23
_FIRST_ERROR = 8000


@dataclass(frozen=True, slots=True)
class _Reply:
    """The answer to one command: lines with their codes, and the code of the last one."""

    lines: tuple[tuple[int, str], ...]
    code: int

    def texts(self, code: int) -> tuple[str, ...]:
        return tuple(text for line_code, text in self.lines if line_code == code)

    @property
    def last(self) -> str:
        return self.lines[-1][1]


class BirdDaemon:
    """A BIRD that runs with `-c START_CONFIG -s SOCKET`.

    `start_config` stands beside the socket, where a reboot removes it, and comes back with the
    first `apply`: a service manager that waits for it starts BIRD only once the machine has
    the addresses that BIRD binds to. It leads to `DIRECTORY/current/bird.conf`.

    `current` is a symbolic link to the generation (`gen-N`) in force; the last five stay for
    people to compare. Each file ends with a constant that names its text, so that BIRD can be
    asked which text it runs.
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

    @property
    def config(self) -> Path:
        """The configuration in force."""
        return self._directory / "current" / "bird.conf"

    @property
    def start_config(self) -> Path:
        """The file BIRD must be started with, once it is there."""
        return self._socket.with_name("bird.conf")

    async def apply(self, config: str) -> str:
        """Make `config` the configuration of BIRD; see `ports.Bird.apply`."""
        sentence = await self._apply(config)
        await asyncio.to_thread(self._offer)
        return sentence

    async def _apply(self, config: str) -> str:
        async with self._turn:
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

    async def sessions(self) -> tuple[BgpState, ...]:
        """Return the BGP sessions; UnavailableError if BIRD does not answer."""
        async with self._connection() as connection:
            reply = await connection.ask("show protocols")
        states = (_bgp_state(line) for line in reply.texts(_PROTOCOL))
        return tuple(state for state in states if state is not None)

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
            async with self._connection() as connection:
                reply = await connection.ask(f"eval {_STAMP}")
        except UnavailableError:
            return "unchanged; BIRD is not running"
        if reply.code == _VALUE and reply.last == name:
            return "unchanged"
        return f"unchanged, but BIRD ran an older one: {await self._configure()}"

    async def _configure(self) -> str:
        """Tell BIRD to read its file again; InvariantError if it refuses."""
        try:
            async with self._connection() as connection:
                reply = await connection.ask("configure")
                if reply.code in {_IN_PROGRESS, _QUEUED}:
                    return await connection.finish()
        except UnavailableError as error:
            return f"in place for the next start of BIRD ({error})"
        if reply.code == _RECONFIGURED:
            return "reconfigured"
        if reply.code == _SHUTTING_DOWN:
            return "in place for the next start of BIRD (it is shutting down)"
        raise InvariantError(f"BIRD refuses to reconfigure: {reply.last}")

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator["_Connection"]:
        """Yield a greeted connection. Any failure inside becomes UnavailableError."""
        writer = None
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(self._socket))
                connection = _Connection(reader, writer)
                await connection.read()
                yield connection
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            what = str(error) or type(error).__name__
            raise UnavailableError(f"no answer from BIRD at {self._socket}: {what}") from error
        finally:
            if writer is not None:
                writer.close()

    # ---- files -----------------------------------------------------------------------------

    def _read(self) -> str | None:
        try:
            return self.config.read_text()
        except FileNotFoundError:
            return None

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
        with (generation / "bird.conf").open("w") as file:
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
        for generation in self._generations()[:-_KEPT_GENERATIONS]:
            shutil.rmtree(generation)


class _Connection:
    """One conversation over BIRD's control socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, command: str) -> _Reply:
        self._writer.write(f"{command}\n".encode())
        await self._writer.drain()
        return await self.read()

    async def finish(self) -> str:
        """Wait, but not for ever, until BIRD has carried out what it is working on."""
        for _ in range(_POLLS):
            if (await self.ask("show status")).last != "Reconfiguration in progress":
                return "reconfigured"
            await asyncio.sleep(_POLL_SECONDS)
        return "BIRD still works on it"

    async def read(self) -> _Reply:
        """Read one whole answer: `NNNN-text` and ` text` go on, `NNNN text` is the last."""
        lines: list[tuple[int, str]] = []
        code = 0
        while True:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise EOFError("BIRD closed the connection")
            text = line.decode(errors="replace").rstrip("\n")
            if text.startswith("+"):  # news nobody asked for
                continue
            coded = _CODE.match(text)
            if coded is None:
                lines.append((code, text.removeprefix(" ")))
                continue
            code = int(coded[1])
            lines.append((code, coded[3]))
            if coded[2] == " ":
                return _Reply(tuple(lines), code)


def _stamped(config: str) -> tuple[str, str]:
    """Return the text to write, and the name of it that the text itself contains."""
    name = hashlib.sha256(config.encode()).hexdigest()[:16]
    return (
        f'{config}\n# Which text this is, for the agent to ask.\ndefine {_STAMP} = "{name}";\n',
        name,
    )


def _bgp_state(line: str) -> BgpState | None:
    """Read a line of `show protocols`: name, protocol, table, state, since, and words."""
    words = line.split(None, 4)
    if len(words) < 5 or words[1] != "BGP":  # noqa: PLR2004 (columns)
        return None
    detail = " ".join(_SINCE.sub("", words[4]).split())
    up = words[3] == "up" and detail.startswith("Established")
    return BgpState(name=words[0], up=up, detail=detail)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
