"""Images of this machine: fetched once with podman, by digest, into a store of our own.

<state>/images/      podman's store: nothing else of podman's on this machine is touched
<state>/images-used/ one file for each, by digest: as old as its last use
<state>/images-coming/ what it has of images that are on their way
<runtime>/images/    what podman remembers until the next boot

Registries, their mirrors and credentials are podman's: /etc/containers/registries.conf and
auth.json, unless a secret is for the registry. What has been fetched is started without any of
them. What podman mounts ends with podman; an instance's init mounts the layers for itself.
"""

import asyncio
import contextlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from pltfrms.drivers.ports import Directories
from pltfrms.drivers.private import replace_file
from pltfrms.drivers.tool import ToolFailedError, run_tool
from pltfrms.errors import UnavailableError, UsageError

_AT_ONCE: Final = 2
"""So many images are fetched at once."""
_FETCH_SECONDS: Final = 900
_LOOK_SECONDS: Final = 30
_STDIN: Final = "/proc/self/fd/0"
_FIRST_REST: Final = 2.0
_LONGEST_REST: Final = 60.0
"""Seconds from a failure until a registry is asked again, as often as that is wanted."""
KEPT_UNUSED: Final = 3
"""So many images that nothing runs stay: the way back is not to need a registry."""
_TOUCH_SECONDS: Final = 600
_SAID: Final = 200
_SAY_SECONDS: Final = 10
"""Other words are said so often: each time they are a write of all that the machine says."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that is here."""

    name: str
    base: str
    layers: tuple[str, ...]
    """Directories below `base` with what it consists of, the topmost first."""
    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    user: str = ""
    directory: str = "/"

    @property
    def is_whole(self) -> bool:
        """Whether nobody has removed it since we looked."""
        return all(Path(self.base, layer).is_dir() for layer in self.layers)


@dataclass(slots=True)
class _Rest:
    """Why an image could not be had, and until when nobody is asked for it again."""

    why: str
    until: float
    seconds: float


@dataclass(slots=True)
class _Fetching:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    since: float = 0.0


class Images:
    """The images of this machine."""

    def __init__(self, directories: Directories) -> None:
        """Do not touch the disk yet."""
        self._coming = directories.state / "images-coming"
        self._podman = (
            *("unshare", "--mount", "--propagation=private"),
            *("env", f"TMPDIR={self._coming}", "podman"),
            f"--root={directories.state / 'images'}",
            f"--runroot={directories.runtime / 'images'}",
            f"--tmpdir={directories.runtime / 'images' / 'tmp'}",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
        )
        self._store = directories.state / "images"
        self._uses = directories.state / "images-used"
        self._here: dict[str, Image] = {}
        self._rests: dict[str, _Rest] = {}
        self._fetching: dict[str, _Fetching] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._pulls = 0
        self._tasks: set[asyncio.Task[Image]] = set()

    async def get(self, name: str, credentials: Callable[[], str] = str) -> Image:
        """Return an image; fetch it if it is not here, once for all who want it.

        Who gives up waiting does not end that: another one may want it soon. `credentials`
        returns what podman shows the registry, in place of what this machine has for it; empty
        if that is right. It is asked only if the image is not here.

        Raises:
            UnavailableError: it is not here, and cannot be had now.
        """
        task = asyncio.ensure_future(self._get(name, credentials))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Image]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it

    async def _get(self, name: str, credentials: Callable[[], str]) -> Image:
        fetching = self._fetching.setdefault(name, _Fetching())
        async with fetching.lock:
            image = self._here.get(name)
            if image is None or not image.is_whole:
                image = await self._look(name)
            if image is None:
                image = await self._fetch(name, fetching, credentials)
            self._here[name] = image
            self._rests.pop(name, None)
            self._note(image)
            return image

    def doing(self, name: str) -> str:
        """Say in one sentence what is done to have an image; empty if that is nothing."""
        fetching, rest = self._fetching.get(name), self._rests.get(name)
        if fetching is None or not fetching.since:
            return rest.why if fetching and rest and fetching.lock.locked() else ""
        seconds = time.monotonic() - fetching.since
        said = f", for more than {seconds - seconds % _SAY_SECONDS:.0f} s"
        return f"fetches its image {name}{said if seconds > _SAY_SECONDS else ''}"

    async def _fetch(
        self, name: str, fetching: _Fetching, credentials: Callable[[], str]
    ) -> Image:
        rest = self._rests.get(name)
        if rest is not None:  # to refuse at once would count as another failure of who wants it
            await asyncio.sleep(rest.until - time.monotonic())
        fetching.since = time.monotonic()
        try:
            async with self._turns:
                await self._pull(name, credentials())
            image = await self._look(name)
        except (UnavailableError, UsageError) as error:
            raise self._rested(name, rest, error) from error
        finally:
            fetching.since = 0.0
        if image is None:
            raise UnavailableError(f"image {name} was fetched, and is not here")
        _log.info("image_fetched", image=name)
        return image

    async def _pull(self, name: str, credentials: str) -> None:
        """Let podman fetch an image; first goes what one left that was ended on its way.

        It reads credentials as its standard input, which is memory: they are in no file.
        """
        shown = (f"--authfile={_STDIN}",) if credentials else ()
        if not self._pulls:
            shutil.rmtree(self._coming, ignore_errors=True)
        self._pulls += 1
        try:
            self._coming.mkdir(mode=0o700, parents=True, exist_ok=True)
            words = ("pull", "--quiet", *shown, "--", name)
            await self._run(*words, seconds=_FETCH_SECONDS, text=credentials)
        finally:
            self._pulls -= 1

    def _rested(self, name: str, before: _Rest | None, error: Exception) -> UnavailableError:
        said = error.said if isinstance(error, ToolFailedError) else str(error)
        last = " ".join(said.split())[-_SAID:]
        seconds = min(2 * before.seconds, _LONGEST_REST) if before else _FIRST_REST
        # Nodes that were refused together do not come back together.
        until = time.monotonic() + seconds * (0.5 + random.random())  # noqa: S311 - no secret
        why = f"image {name} cannot be had: {last}"
        self._rests[name] = _Rest(why, until, seconds)
        return UnavailableError(why)

    async def _look(self, name: str) -> Image | None:
        """Return an image that is here; None if it is not."""
        try:
            text = await self._run("image", "inspect", "--", name)
        except ToolFailedError:
            return None
        said = json.loads(text)[0]
        config = said.get("Config") or {}
        pairs = (each.partition("=") for each in config.get("Env") or ())
        base, layers = await self._layers(name, said.get("GraphDriver") or {})
        return Image(
            name=name,
            base=base,
            layers=layers,
            entrypoint=tuple(config.get("Entrypoint") or ()),
            arguments=tuple(config.get("Cmd") or ()),
            environment=tuple((key, value) for key, _, value in pairs),
            user=config.get("User") or "",
            directory=config.get("WorkingDir") or "/",
        )

    async def _layers(self, name: str, driver: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
        """Return a directory, and the layers below it; short, since a mount takes 4 KiB.

        Without layers (vfs), what podman calls its mount is one.
        """
        data = driver.get("Data") or {}
        if driver.get("Name") != "overlay":
            return "/", ((await self._run("image", "mount", "--", name)).strip(),)
        parts = [data["UpperDir"], *filter(None, data.get("LowerDir", "").split(":"))]
        links = (Path(part).with_name("link").read_text().strip() for part in parts)
        return str(self._store / "overlay"), tuple(f"l/{link}" for link in links)

    # ---- what nobody needs any more --------------------------------------------------------

    def _note(self, image: Image) -> None:
        """Remember that an image is used now, and how its mounts are known.

        Without that, as on a full disk, it is never removed.
        """
        path = self._uses / image.name.rpartition(":")[2]
        with contextlib.suppress(OSError):
            self._uses.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, f"{image.name}\n{image.layers[0]}".encode())

    async def remove_unused(self, wanted: AbstractSet[str], pids: Iterable[int]) -> None:
        """Remove images that no instance with such a first process has mounted.

        Those that are wanted stay, whether anything runs them or not; of the others, the last
        `KEPT_UNUSED` that were used.
        """
        notes = sorted(self._uses.glob("*"), key=lambda path: path.stat().st_mtime)
        if len(notes) <= KEPT_UNUSED:
            return
        mounts = "\n".join(map(_mounts_of, pids))
        said = [(note, *note.read_text().partition("\n")[::2]) for note in notes]
        unused = []
        for note, name, layer in said:
            if layer in mounts:
                _touch(note)
            elif name not in wanted:
                unused.append((note, name))
        for note, name in unused[:-KEPT_UNUSED]:
            fetching = self._fetching.setdefault(name, _Fetching())
            async with fetching.lock:
                self._here.pop(name, None)
                if await self._look(name) is not None:
                    await self._run("rmi", "--force", "--", name)
                note.unlink(missing_ok=True)
            _log.info("image_removed", image=name)

    async def _run(self, *words: str, seconds: float = _LOOK_SECONDS, text: str = "") -> str:
        self._store.mkdir(mode=0o700, parents=True, exist_ok=True)
        driver = f"--storage-driver={_driver_for(self._store)}"
        return await run_tool(*self._podman, driver, *words, seconds=seconds, text=text)


def _driver_for(store: Path) -> str:
    """Return how podman keeps layers: as they are, or all of them in copies.

    The kernel lays no podman's layers over a directory that is laid over another itself.
    """
    device = store.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == number and source.startswith("overlay "):
            return "vfs"
    return "overlay"


def _touch(note: Path) -> None:
    """Remember that an image is still used: what ran for months until now was used last."""
    if time.time() - note.stat().st_mtime > _TOUCH_SECONDS:
        note.touch()


def _mounts_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/mountinfo").read_text()
    except OSError:
        return ""
