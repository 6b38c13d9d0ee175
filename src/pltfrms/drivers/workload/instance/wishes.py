"""What the agent tells the init of an instance: JSON, so plain words alone."""

from typing import TypedDict


class Box(TypedDict):
    """An image to run the command in, and how."""

    place: str
    """An empty directory of the machine; what is made there only the instance sees."""
    base: str
    layers: str
    """Directories below `base` with what the image consists of, as overlayfs takes them."""
    bytes: int
    """What may be written on top of it, in memory."""
    config: str
    """For the OCI runtime, as JSON."""
    create: list[str]
    """The OCI runtime, which makes the container and leaves."""
    start: list[str]
    """Likewise; it lets the container execute the command."""
    user: int
    group: int
    """Whom the command runs as."""


class Kept(TypedDict):
    """Secrets in files, in memory that only the instance sees."""

    directory: str
    files: list[tuple[str, int, str]]
    """Name, mode, and what is in it, in base64."""


class InitWishes(TypedDict):
    """What the agent wants started."""

    allocation: str
    process: list[str]
    environment: dict[str, str]
    directory: str
    exit_file: str
    """Gets one sentence how the command ended."""
    log_file: str
    """Gets what the command says; older parts are `.1` (newest), `.2`, ..."""
    log_bytes: int
    """Longest of these files."""
    older_logs: int
    """How many older parts there are."""
    ip_commands: list[str]
    """Lines for `ip -batch`, run inside."""
    hosts: str
    """Is seen as /etc/hosts, in place of the machine's."""
    box: Box | None
    """None: the command is a program of the machine."""
    lock: str
    """A file that is to be ours alone as long as we live; empty: none."""
    mounts: list[str]
    """What shows a process its volumes; empty: nothing."""
    lifetime_ms: int
    """It is ended when it has lived for so long; 0: it is not."""
    grace_ms: int
    """Between SIGTERM and SIGKILL, then."""
    secrets: Kept | None
