"""`login`, `logout` and `context`, with keys of OpenSSH."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pltfrms.codec import encode
from pltfrms.drivers.operators.signatures import SshSignatures
from pltfrms.model.messages.logins import (
    LOGIN_NAMESPACE,
    LOGIN_PURPOSE,
    LoginAsk,
    LoginChallenge,
    LoginReply,
    LoginText,
    key_digest,
)
from pltfrms.model.network.topology import Operator, OperatorRole
from tests.cli.conftest import Run
from tests.cli.world import FakeController

TOKEN = "no-secret"  # noqa: S105 - as it says


def make_key(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))
    subprocess.run(command, check=True)
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


class Door:
    """What answers logins as a controller does, but for its seal."""

    def __init__(self, controller: FakeController, *keys: str) -> None:
        self.keys = keys
        self.life_ms = 3_600_000
        self.purpose = LOGIN_PURPOSE
        self.asked: list[LoginAsk] = []
        controller.door = self

    def get(self, path: str, _parameters: object, _kind: object) -> LoginChallenge:
        assert path == "/v1/login"
        word = LoginText(purpose=self.purpose, platform="example", nonce="n", expires_ms=1)
        digests = tuple(key_digest(key) for key in self.keys)
        return LoginChallenge(text=encode(word).decode(), seal="s", keys=digests)

    def post(self, path: str, ask: Any, _kind: object) -> LoginReply:
        assert (path, ask.seal) == ("/v1/login", "s")
        self.asked.append(ask)
        ada = Operator(name="ada", keys=(ask.key,))
        signer = SshSignatures().signer(ask.text, ask.signature, (ada,), LOGIN_NAMESPACE)
        return LoginReply(
            platform="example",
            operator=asyncio.run(signer),
            role=OperatorRole.ADMIN,
            token=TOKEN,
            expires_ms=int(time.time() * 1000) + self.life_ms,
        )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PLTFRMS_KEY", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_who_logs_in_shows_it_from_then_on_until_he_logs_out(
    run: Run, controller: FakeController, home: Path
) -> None:
    make_key(home / ".ssh/id_other")
    door = Door(controller, make_key(home / ".ssh/id_work"))
    result = run("login")
    assert result.code == 0, result.err
    assert "logged in as ada, admin of example until" in result.out
    assert door.asked[0].key == door.keys[0]
    assert controller.token == ""
    run("status")
    assert controller.token == TOKEN
    assert "logged out" in run("logout").out
    run("status")
    assert controller.token == ""


def test_nobody_else_can_read_what_a_login_leaves(
    run: Run, controller: FakeController, home: Path
) -> None:
    Door(controller, make_key(home / ".ssh/id_work"))
    run("login")
    files = [path for path in (home / "config").rglob("*") if path.name != "config"]
    assert any(TOKEN in path.read_text() for path in files if path.is_file())
    assert not [path for path in files if path.stat().st_mode & 0o077]


def test_a_login_that_has_ended_is_not_shown(
    run: Run, controller: FakeController, home: Path
) -> None:
    door = Door(controller, make_key(home / ".ssh/id_work"))
    door.life_ms = -1
    run("login")
    run("status")
    assert controller.token == ""


@pytest.mark.usefixtures("ssh_agent")
def test_a_key_that_only_the_agent_has_logs_in(
    run: Run, controller: FakeController, home: Path
) -> None:
    key = make_key(home / "elsewhere/key")
    subprocess.run(("ssh-add", "-q", str(home / "elsewhere/key")), check=True)
    (home / "elsewhere/key").unlink()
    Door(controller, key)
    assert run("login").code == 0


@pytest.fixture
def ssh_agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    path = str(home / "agent")
    with subprocess.Popen(("ssh-agent", "-D", "-a", path), stdout=subprocess.DEVNULL) as agent:
        until = time.monotonic() + 10
        while not os.path.exists(path) and time.monotonic() < until:  # noqa: PTH110
            time.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        yield
        agent.terminate()


def test_without_a_key_of_an_operator_it_is_said_where_was_looked(
    run: Run, controller: FakeController, home: Path
) -> None:
    Door(controller, "ssh-ed25519 AAAA")
    make_key(home / ".ssh/id_other")
    result = run("login")
    assert result.code == 2
    assert "no key of ~/.ssh and of the SSH agent is one of an operator of example" in (
        result.err
    )
    assert run("login", "--key", home / "none").code == 2


def test_a_controller_has_nothing_else_signed_than_a_login(
    run: Run, controller: FakeController, home: Path
) -> None:
    door = Door(controller, make_key(home / ".ssh/id_work"))
    door.purpose = "transfer"
    assert run("login").code == 2
    assert door.asked == []


def test_a_login_is_for_where_it_was_made(
    run: Run, controller: FakeController, home: Path
) -> None:
    Door(controller, make_key(home / ".ssh/id_work"))
    run("context", "add", "prod", "http://192.0.2.1:7480")
    assert "not encrypted" in run("login", "--context", "prod").err
    for words, token in (
        (("--context", "prod"), TOKEN),
        ((), TOKEN),
        (("--controller", "http://192.0.2.1:7480"), ""),
        (("--controller", "unix:/x.sock"), ""),
    ):
        run("status", *words)
        assert controller.token == token, words


@pytest.mark.usefixtures("controller", "home")
def test_contexts_are_added_chosen_listed_and_removed(
    run: Run, endpoints: list[object]
) -> None:
    urls = ("http://192.0.2.1:7480", "http://192.0.2.2:7480")
    assert run("context", "add", "prod", *urls).code == 0
    assert run("context", "add", "test", "unix:/t.sock").code == 0
    run("status")
    assert endpoints[-1:] == [urls]
    run("status", "--context", "test")
    assert endpoints[-1:] == [("unix:/t.sock",)]
    assert run("context", "use", "test").code == 0
    run("status")
    assert endpoints[-1:] == [("unix:/t.sock",)]
    lines = run("context", "list").out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["prod", "-"], ["*", "test"]]
    assert run("context", "remove", "test").code == 0
    run("status")
    assert endpoints[-1:] == [("unix:/run/pltfrms/controller.sock",)]
    unknown = run("status", "--context", "test")
    assert unknown.code == 2
    assert "there is no context 'test'; there are: prod" in unknown.err


@pytest.mark.usefixtures("controller", "lab", "home")
def test_a_context_comes_before_a_lab_that_happens_to_run(
    run: Run, endpoints: list[object]
) -> None:
    run("context", "add", "prod", "http://192.0.2.1:7480")
    run("status")
    assert endpoints[-1:] == [("http://192.0.2.1:7480",)]
    run("status", "--lab", "example")
    assert endpoints[-1:] == [("unix:/labs/example.sock",)]


@pytest.mark.parametrize("name", ["../x", "", "a b", "-"])
def test_a_context_has_a_name_that_is_no_path(run: Run, name: str, home: Path) -> None:
    assert run("context", "add", "--", name, "http://192.0.2.1:7480").code == 2
    assert not (home / "config").exists()


def test_a_file_of_contexts_that_cannot_be_read_is_named(run: Run, home: Path) -> None:
    run("context", "add", "prod", "http://192.0.2.1:7480")
    (home / "config/pltfrms/contexts.json").write_text("{")
    result = run("context", "list")
    assert result.code == 2
    assert "contexts.json cannot be read" in result.err
