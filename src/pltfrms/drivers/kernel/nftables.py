"""A table of nftables that is ours alone, replaced as a whole."""

import shutil

from pltfrms.drivers.tool import run_tool
from pltfrms.errors import UnavailableError

_ABSENT = "No such file or directory"
"""How nft says that there is no such table."""


class NftTable:
    """One table in the network namespace we run in."""

    def __init__(self, name: str) -> None:
        """`name` has the family in it, such as `inet example`."""
        self._name = name
        self._made: tuple[str, str] | None = None
        """What we were given, and how nft shows it; None until we made it."""

    async def apply(self, text: str) -> bool:
        """Make the table be what `table NAME { ... }` says; return whether it was not.

        An empty text is for no table. It is replaced in one step, and what nft would not
        accept is not tried. A table that somebody has changed or deleted is made again, its
        counters begin at zero.

        Raises:
            UnavailableError: nft is not there, silent, or refuses the text; nothing changes.
        """
        shown = await self._shown()
        if (text, shown) == self._made:
            return False
        if text or shown:
            # The first line is for when there is none to be deleted.
            whole = f"table {self._name}\ndelete table {self._name}\n{text}"
            await run_tool("nft", "-c", "-f", "-", text=whole)
            await run_tool("nft", "-f", "-", text=whole)
        self._made = (text, await self._shown())
        return bool(text or shown)

    async def _shown(self) -> str:
        """Return the table without what its counters have counted; empty if there is none."""
        if shutil.which("nft") is None:
            return ""  # then nothing of ours can be there
        try:
            return await run_tool("nft", "-s", "list", "table", *self._name.split())
        except UnavailableError as error:
            if _ABSENT in str(error):
                return ""
            raise
