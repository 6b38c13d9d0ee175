"""Whether a command may be run in an instance. Pure; controllers and nodes both ask."""

import shlex
from collections.abc import Iterator

from pltfrms.model.messages.audit import LETTERS_MAX
from pltfrms.model.messages.commands import (
    COMMAND_LETTERS_MAX,
    COMMAND_SECONDS_MAX,
    WantedCommand,
)
from pltfrms.model.network.topology import Platform
from pltfrms.planner.identity.roles import roles_hold


def why_not_run(platform: Platform) -> str:
    """Return why nobody has commands run on a platform; empty: operators may."""
    if not platform.allow_exec:
        return "this platform does not allow it: `allow_exec: true` in platform.yaml does"
    if not roles_hold(platform):
        return "no operator has a role, so nobody could be told from others: see `operators`"
    return ""


def why_not_said(command: WantedCommand) -> str:
    """Return what is wrong with a command; empty: nothing."""
    size = len(as_written(command.words))
    if not command.words or not command.words[0]:
        return "there is no command"
    if any("\0" in word for word in command.words):
        return "a command cannot have a zero byte in it"
    if size > COMMAND_LETTERS_MAX:
        return f"the command has {size} letters: at most {COMMAND_LETTERS_MAX} are written down"
    if not 0 < command.seconds <= COMMAND_SECONDS_MAX:
        return f"it may take 1 to {COMMAND_SECONDS_MAX} seconds, not {command.seconds}"
    return ""


def as_written(words: tuple[str, ...]) -> str:
    """Return a command as a shell would take it; what cannot be seen is spelled."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shlex.join(words))


def lines_of_command(command: WantedCommand, node: str) -> Iterator[str]:
    """Yield all of a command, as lines of the audit log, none of which is shortened."""
    text = f"{command.allocation} on {node}: {as_written(command.words)}"
    for at in range(0, len(text), LETTERS_MAX):
        yield text[at : at + LETTERS_MAX]
