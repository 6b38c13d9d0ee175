"""What every `ports.Signatures` does: OpenSSH's, and its twin in memory."""

import asyncio
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from pltfrms.drivers.operators.memory import MemorySignatures, memory_signature
from pltfrms.drivers.operators.ports import Signatures
from pltfrms.drivers.operators.signatures import SshSignatures, sign
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.network.topology import Operator

TEXT = '{"platform": "example", "expires_ms": 1}'


class Desk(NamedTuple):
    """Two operators, and how they sign."""

    signatures: Signatures
    operators: tuple[Operator, ...]
    directory: Path | None

    def sign(self, who: str, text: str = TEXT) -> str:
        if self.directory:
            return sign(text, self.directory / who)
        return memory_signature(text, f"ssh-ed25519 {who}")

    def signer(self, signature: str, text: str = TEXT) -> str:
        return asyncio.run(self.signatures.signer(text, signature, self.operators))


@pytest.fixture(params=["ssh-ed25519", "ecdsa", "rsa", "memory"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    people = ("ada", "bob")
    if request.param == "memory":
        made = tuple(Operator(name=who, keys=(f"ssh-ed25519 {who}",)) for who in people)
        return Desk(MemorySignatures(), made, None)
    for who in people:
        make_key(tmp_path / who, request.param.removeprefix("ssh-"))
    made = tuple(Operator(name=who, keys=(public_key(tmp_path / who),)) for who in people)
    return Desk(SshSignatures(), made, tmp_path)


def make_key(file: Path, kind: str = "ed25519") -> None:
    command = ("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "of a test", "-f", str(file))
    subprocess.run(command, check=True)


def public_key(file: Path) -> str:
    return " ".join(file.with_name(f"{file.name}.pub").read_text().split()[:2])


def test_who_has_signed_is_known(desk: Desk) -> None:
    assert desk.signer(desk.sign("ada")) == "ada"
    assert desk.signer(desk.sign("bob")) == "bob"
    long = "ü" * 300_000
    assert desk.signer(desk.sign("bob", long), long) == "bob"


def test_another_text_is_refused(desk: Desk) -> None:
    with pytest.raises(UsageError, match="not what ada has signed"):
        desk.signer(desk.sign("ada"), TEXT + " ")


def test_who_is_no_operator_is_refused(desk: Desk) -> None:
    signature = desk.sign("bob")
    for operators in (desk.operators[:1], ()):
        with pytest.raises(UsageError, match="none of the platform's operators"):
            desk._replace(operators=operators).signer(signature)


@pytest.mark.parametrize("junk", ["", "junk", "-----BEGIN SSH SIGNATURE-----\nAAAA\n", "\0"])
def test_junk_is_refused(desk: Desk, junk: str) -> None:
    with pytest.raises(UsageError, match="none of the platform's operators"):
        desk.signer(junk)


def test_a_second_key_is_the_same_person(desk: Desk) -> None:
    ada, bob = desk.operators
    both = (Operator(name="ada", keys=(*ada.keys, *bob.keys)),)
    assert desk._replace(operators=both).signer(desk.sign("bob")) == "ada"


# ---- of OpenSSH alone ----------------------------------------------------------------------


def test_a_signature_for_something_else_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path / "ada")
    command = ("ssh-keygen", "-q", "-Y", "sign", "-f", str(tmp_path / "ada"), "-n", "git")
    done = subprocess.run(command, input=TEXT, capture_output=True, text=True, check=True)
    ada = Operator(name="ada", keys=(public_key(tmp_path / "ada"),))
    with pytest.raises(UsageError):
        asyncio.run(SshSignatures().signer(TEXT, done.stdout, (ada,)))


def test_a_key_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"cannot sign with .*nobody"):
        sign(TEXT, tmp_path / "nobody")


def test_without_ssh_keygen_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ada = Operator(name="ada", keys=("ssh-ed25519 AAAA",))
    with pytest.raises(UnavailableError, match="ssh-keygen is not installed"):
        asyncio.run(SshSignatures().signer(TEXT, "x", (ada,)))
    with pytest.raises(UnavailableError, match="ssh-keygen is not installed"):
        sign(TEXT, tmp_path / "ada")
