"""What instances answer on the addresses of their service: a table of nftables inside each.

<runtime>/instances/ALLOCATION.ports   the pid of an instance, then its table as it is, if any

The table is in the instance's own network namespace, where packets of directors have lost their
outer header. It needs nobody, and ends with the instance. That of what others start behind this
machine is in its own: it has to be ended, and made again where others flush all rules there.
The pid is then that of the agent that made it.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pltfrms.drivers.kernel.nftables import NftTable
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.private import replace_file
from pltfrms.drivers.tool import run_tool
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import PORTS_TABLE, InstanceSpec, PortRules

_TABLE: Final = re.compile(r"^table (inet \w+) \{", re.MULTILINE)


class PortFilters:
    """The tables of all instances of a machine."""

    def __init__(self, directories: Directories) -> None:
        """Do not touch the disk yet."""
        self._directory = directories.runtime / "instances"
        self._here: dict[str, NftTable] = {}
        """Of what others start behind this machine, by name."""

    async def begin(self, spec: InstanceSpec, pid: int) -> str:
        """Make the table of an instance before its command runs; return why there is none.

        Raises:
            UnavailableError: it cannot be made, and not everybody is to be answered.
        """
        rules = spec.ports or PortRules(text="")
        try:
            if rules.text:
                await self._nft(pid, "-f", "-", text=_whole(rules))
        except UnavailableError as error:
            if rules.strict:
                raise
            self._note(spec.allocation, pid, "")
            return str(error)
        self._note(spec.allocation, pid, rules.text)
        return ""

    async def follow(self, spec: InstanceSpec, pid: int) -> None:
        """Make the table of a running instance what its spec says now, in one step.

        One that was started without any, by a release that made none, is left as it is until
        its next start: ports that nobody has declared yet are not closed by an upgrade.

        Raises:
            UnavailableError: nft is not there, or refuses; all stays as it is.
        """
        rules = spec.ports or PortRules(text="")
        before = self._noted(spec.allocation, pid)
        if before is None and not rules.strict:
            return
        if (before or "") != rules.text:
            await self._nft(pid, "-c", "-f", "-", text=_whole(rules))
            await self._nft(pid, "-f", "-", text=_whole(rules))
            self._note(spec.allocation, pid, rules.text)

    async def lead(self, spec: InstanceSpec) -> None:
        """Have the table of what others start behind this machine be what its spec says.

        Also where somebody has changed or flushed it.

        Raises:
            UnavailableError: nft is not there, or refuses; all stays as it is.
        """
        rules = spec.ports or PortRules(text="")
        table = self._here.setdefault(rules.table, NftTable(rules.table))
        if await table.apply(rules.text):
            self._note(spec.allocation, os.getpid(), rules.text)

    async def refused(self, allocation: str, pid: int) -> Mapping[str, int]:
        """Return how many packets an instance refused, by why; empty if nothing is refused.

        Raises:
            UnavailableError: it cannot be known now.
        """
        if not self._noted(allocation, pid):
            return {}
        said = await self._nft(pid, "-j", "list", "counters", "table", *PORTS_TABLE.split())
        found = (each.get("counter") for each in json.loads(said)["nftables"])
        return {each["name"]: each["packets"] for each in found if each}

    async def end(self, allocation: str) -> None:
        """Take away the table of what others start behind this machine, if it has one.

        Raises:
            UnavailableError: nft is not there, or refuses; it is still there.
        """
        with suppress(FileNotFoundError):
            text = self._path(allocation).read_text()
            found = _TABLE.search(text)
            if found:
                await run_tool("nft", "-f", "-", text=_without(found[1]))
            self.forget(allocation)

    def forget(self, allocation: str) -> None:
        """Remove what is noted of an instance that is gone."""
        self._path(allocation).unlink(missing_ok=True)

    async def _nft(self, pid: int, *words: str, text: str = "") -> str:
        where = f"--net=/proc/{pid}/ns/net"
        return await run_tool("nsenter", where, "nft", *words, text=text)

    def _note(self, allocation: str, pid: int, text: str) -> None:
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(self._path(allocation), f"{pid}\n{text}".encode())

    def _noted(self, allocation: str, pid: int) -> str | None:
        """Return the table of an instance; None: whoever started it has made none.

        A release that knows of no tables leaves the note of an instance that has ended.
        """
        try:
            whose, _, text = self._path(allocation).read_text().partition("\n")
        except FileNotFoundError:
            return None
        return text if whose == str(pid) else None

    def _path(self, allocation: str) -> Path:
        return self._directory / f"{allocation}.ports"


def _whole(rules: PortRules) -> str:
    """Return what replaces the table in one step."""
    return _without(rules.table) + rules.text


def _without(table: str) -> str:
    """Return what removes a table; the first line is for when there is none."""
    return f"table {table}\ndelete table {table}\n"
