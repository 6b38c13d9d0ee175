"""The twin of a packet filter in memory, for tests and simulation."""

from pltfrms.errors import UnavailableError


class MemoryFilter:
    """`ports.PacketFilter` without a kernel."""

    def __init__(self) -> None:
        """Filter nothing."""
        self.text = ""
        self.refuses = ""
        """Why no filter can be made; empty: it can."""

    async def apply(self, text: str) -> bool:
        """Remember the text."""
        if self.refuses:
            raise UnavailableError(self.refuses)
        before, self.text = self.text, text
        return before != text
