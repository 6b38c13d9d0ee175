"""A platform's root and one controller's authority, made once; and identities by them."""

from dataclasses import dataclass, field
from pathlib import Path

from pltfrms.drivers.identity.authority import (
    Authority,
    AuthorityFile,
    Pair,
    make_authority,
    make_root,
)
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.keys import make_key, make_request

PASSPHRASE = "correct horse"  # noqa: S105 - a test's


@dataclass
class Office:
    """What signs for a platform, at a time that tests set."""

    platform: str
    now_ms: int
    root: Pair = field(init=False)
    own: Pair = field(init=False)

    def __post_init__(self) -> None:
        self.root = make_root(self.platform, PASSPHRASE, self.now_ms)
        self.own = make_authority(self.root, PASSPHRASE, "fra-c1", self.now_ms)

    def sign_as(self, controller: str) -> None:
        """Sign with the authority of another controller from now on."""
        self.own = make_authority(self.root, PASSPHRASE, controller, self.now_ms)

    @property
    def signer(self) -> Authority:
        return Authority(self.platform, self.root.certificate, self.own, lambda: self.now_ms)

    def identity(
        self, state: Path, machine: str, joins: int = 1, *, controller: bool = False
    ) -> IdentityFile:
        """Give a machine an identity in its directory of state."""
        key = make_key()
        request = make_request(key, self.platform, machine)
        made = self.signer.issue(request, machine, joins, controller=controller)
        file = IdentityFile(state)
        file.write(key, request, made, self.now_ms)
        if controller:
            AuthorityFile(state).write(self.own)
        return file
