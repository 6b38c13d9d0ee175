"""`bootstrap`, `machine token`, `join`: by hand, interrupted anywhere, and against attacks."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

from pltfrms.cli.machine.joining import endpoint_of
from pltfrms.cli.main import main
from pltfrms.drivers.identity.authority import AuthorityFile, make_root, read_certificate
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.keys import pin_of
from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.errors import UsageError
from pltfrms.model.identity.words import LEAVING_FILE
from pltfrms.model.network.topology import CONTROLLER_PORT
from tests.cli.world import EXAMPLE

PASSPHRASE = "correct horse"  # noqa: S105 - a test's


class Site:
    """A machine's directories, and the commands on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.places = [f"--config={directory / 'etc'}", f"--state={directory / 'var'}"]
        self.root = directory / "root.pem"
        self.file = IdentityFile(directory / "var")
        directory.mkdir(exist_ok=True)
        self.passphrase = directory / "passphrase"
        self.passphrase.write_text(f"{PASSPHRASE}\n")

    def bootstrap(self, machine: str = "fra-c1") -> list[str]:
        return [
            *("bootstrap", str(EXAMPLE / "platform.yaml"), "--json", *self.places),
            *("--machine", machine, "--root-key", str(self.root)),
            *("--passphrase-file", str(self.passphrase)),
        ]

    def join(self, token: str, url: str) -> list[str]:
        return ["join", token, "--controller", url, "--json", *self.places]


@pytest.fixture(autouse=True)
def _nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no other controller, which takes seconds to hear nothing."""
    monkeypatch.setattr("pltfrms.cli.machine.joining.who_listens", lambda *_: ())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "fra-c1")


def done(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert main(words) == code, capsys.readouterr().err
    said = capsys.readouterr()
    return said.out or said.err


def test_bootstrap_makes_all_that_the_first_controller_needs_and_again_does_nothing(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    said = json.loads(done(site.bootstrap(), capsys))
    assert (said["platform"], said["machine"], said["changed"]) == ("example", "fra-c1", True)
    assert "ENCRYPTED" in site.root.read_text()
    assert site.root.stat().st_mode & 0o777 == 0o600
    authority = AuthorityFile(site.directory / "var").read()
    assert authority
    assert "ENCRYPTED" not in authority.key
    assert (site.directory / "etc" / "machine").read_text() == "fra-c1\n"
    word, *members = (site.directory / "etc" / "first-members").read_text().split()
    assert (word.startswith("example-"), members) == (True, ["fra-c1"])
    before = site.file.path.read_bytes()
    site.root.unlink()
    again = json.loads(done(site.bootstrap(), capsys))
    assert again["changed"] is False
    assert site.file.path.read_bytes() == before
    assert (site.directory / "etc" / "first-members").read_text().split()[0] == word
    assert not site.root.exists()


@pytest.mark.parametrize(
    ("path", "text", "secure"),
    [
        ("", "", True),
        ("etc/first-members", "word fra-c1\n", True),
        ("etc/first-members", "word fra-c1 ams-c1\n", False),
        ("etc/first-members.used", "word fra-c1\n", False),
        ("var/store-begun", "", False),
        ("var/etcd/member/wal", "", False),
    ],
)
def test_bootstrap_leaves_a_store_that_speaks_plainly_as_its_members_know_it(
    site: Site, capsys: pytest.CaptureFixture[str], path: str, text: str, *, secure: bool
) -> None:
    if path:
        there = site.directory / path
        there.parent.mkdir(parents=True)
        there.write_text(text)
    done(site.bootstrap(), capsys)
    assert StoreFiles(site.directory / "var").there is secure


def test_bootstrap_ends_a_leave_that_was_interrupted(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = site.directory / "var" / LEAVING_FILE
    for again in (False, True):
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
        done(site.bootstrap(), capsys)
        assert not mark.exists(), again


def test_bootstrap_refuses_to_make_another_machine_of_this_one(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    done(site.bootstrap(), capsys)
    assert "is fra-c1 of example already" in done(site.bootstrap("ams-c1"), capsys, 4)
    assert "say which controller" in done(site.bootstrap("fra-n1"), capsys, 2)


def test_bootstrap_begins_no_second_store_while_another_controller_answers(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answers(addresses: list[str], port: int, _seconds: float) -> tuple[str, ...]:
        assert port == CONTROLLER_PORT
        asked.extend(addresses)
        return tuple(addresses[1:])

    monkeypatch.setattr("pltfrms.cli.machine.joining.who_listens", answers)
    said = done(site.bootstrap(), capsys, 4)
    assert "runs already" in said
    assert "pltfrms machine token fra-c1" in said
    assert not (site.directory / "etc").exists()
    assert not site.root.exists()
    monkeypatch.undo()
    done(site.bootstrap(), capsys)
    monkeypatch.setattr("pltfrms.cli.machine.joining.who_listens", answers)
    done(site.bootstrap(), capsys)  # it is known here: not asked
    assert len(asked) == 2


def test_a_second_run_with_another_passphrase_says_so(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    done(site.bootstrap(), capsys)
    site.file.path.unlink()
    site.passphrase.write_text("wrong")
    assert "the key cannot be read" in done(site.bootstrap(), capsys, 2)
    site.passphrase.write_text("\n")
    assert "needs a passphrase" in done(site.bootstrap(), capsys, 2)


def test_what_signs_certificates_is_made_anew_by_the_same_root_only(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    done(site.bootstrap(), capsys)
    words = ["controller", "authority", "--root-key", str(site.root), "--json", *site.places]
    words += ["--passphrase-file", str(site.passphrase)]
    file = AuthorityFile(site.directory / "var")
    before = file.read()
    done(words, capsys)
    assert file.read() != before
    other = make_root("example", PASSPHRASE, 1_900_000_000_000)
    site.root.write_text(f"{other.key}\n{other.certificate}")
    assert "that root is not trusted here" in done(words, capsys, 2)


KILLER = """
import json, os, signal, sys
import pltfrms.drivers.listening as listening
import pltfrms.drivers.private as private
listening.who_listens = lambda *_: ()
at, before, count, real = 0, False, 0, private.replace_file

def replace(path, value):
    global count
    count += 1
    if count == at and before:
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, value)
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)

private.replace_file = replace
import pltfrms.cli.machine.identity, pltfrms.cli.machine.joining  # once for all copies
import pltfrms.drivers.identity.authority, pltfrms.specfile
from pltfrms.cli.main import main
said = os.dup(1)
os.dup2(2, 1)
for line in sys.stdin:
    at, when, words = json.loads(line)
    before = when == "before"
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os._exit(main(words))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(said, b"%d\\n" % code)
"""


class Killer:
    """A process that runs commands, each killed at its n-th write; imported is once for all."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", KILLER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate()

    def kills(self, words: list[str], at: int, when: str) -> bool:
        """Run a command; return whether it came so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps((at, when, words))}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        assert code in {0, -signal.SIGKILL}
        return code == -signal.SIGKILL


def test_bootstrap_may_be_killed_at_every_step_and_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        (at, when, Site(tmp_path / f"{at}{when}"))
        for at in range(1, 9)
        for when in ("before", "after")
    ]
    with Killer() as killer:
        kills = [killer.kills(site.bootstrap(), at, when) for at, when, site in runs]
    assert kills == [True] * 14 + [False] * 2
    for _, _, site in runs:
        said = json.loads(done(site.bootstrap(), capsys))
        own = site.file.read()
        assert said["until_ms"] == own.not_after_ms
        pin = pin_of(read_certificate(own.roots))
        root = site.root.read_text()
        assert pin == pin_of(read_certificate(root[root.index("-----BEGIN CERT") :]))
        assert StoreFiles(site.directory / "var").there


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("192.0.2.1", "https://192.0.2.1:7480"),
        ("fd00::1", "https://[fd00::1]:7480"),
        ("[fd00::1]:1", "https://[fd00::1]:1"),
        ("https://[fd00::1]:7480/", "https://[fd00::1]:7480"),
        ("fra-c1.example.net:443", "https://fra-c1.example.net:443"),
    ],
)
def test_a_controller_is_named_by_its_address(address: str, url: str) -> None:
    assert endpoint_of(address) == url


@pytest.mark.parametrize("address", ["", "a/b", "http://a", "a:b", "user@a/", "[x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        endpoint_of(address)
