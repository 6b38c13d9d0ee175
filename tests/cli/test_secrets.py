"""The commands `secret`: what they ask for, and that no value is shown."""

import io
import json
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pltfrms.model.messages.api import ChangeLine
from pltfrms.model.messages.secrets import (
    SecretChange,
    SecretReply,
    SecretsKeyReply,
    SecretVerb,
    SecretView,
)
from pltfrms.model.services.secrets import SecretNote
from tests.cli.conftest import Run
from tests.cli.world import FakeController

VALUE = "hunter2"


class Safe:
    """Answers for secrets."""

    def __init__(self) -> None:
        self.changes: list[SecretChange] = []
        self.gone: list[str] = []

    def get(self, path: str, parameters: Mapping[str, str], kind: type[Any]) -> Any:
        assert (path, parameters, kind) == ("/v1/secrets", {}, tuple[SecretView, ...])
        note = SecretNote(name="db", version=2, by="ada")
        return (SecretView(note=note, services=("web",), jobs=("backup",)),)

    def change(
        self,
        method: str,
        path: str,
        kind: type[Any],
        word: Any = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Any:
        if (method, path, kind) == ("POST", "/v1/secrets", SecretReply):
            self.changes.append(word)
            line = ChangeLine(about="secret/db", action="update", detail="value 3")
            return SecretReply(revision=8, changes=(line,), warning="others may see it")
        if (method, kind) == ("DELETE", SecretReply):
            assert parameters
            self.gone.append(f"{path} {bool(parameters['by'])} {parameters['why']}")
            return SecretReply(revision=9, changes=())
        assert (method, path, kind) == ("POST", "/v1/secrets-key", SecretsKeyReply)
        assert word.why == "replaced"
        return SecretsKeyReply(sealed=("db",), lost=("old",))


@pytest.fixture
def safe(controller: FakeController) -> Safe:
    controller.door = safe = Safe()
    return safe


def typed(monkeypatch: pytest.MonkeyPatch, value: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(value)))


def test_a_value_is_read_and_not_shown(
    run: Run, safe: Safe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    typed(monkeypatch, VALUE.encode())
    first = run("secret", "set", "db", "--why", "new")
    (tmp_path / "value").write_bytes(b"\0\xff")
    second = run("secret", "rotate", "db", "--file", tmp_path / "value", "--yes")
    assert (first.code, second.code) == (0, 0)
    assert [(each.verb, b64decode(each.value), each.why) for each in safe.changes] == [
        (SecretVerb.SET, VALUE.encode(), "new"),
        (SecretVerb.ROTATE, b"\0\xff", ""),
    ]
    for result in (first, second):
        assert "update secret/db: value 3" in result.out
        assert "note: others may see it" in result.err
        assert VALUE not in result.out + result.err
    assert VALUE not in repr(safe.changes[0])


@pytest.mark.parametrize("value", [b"", b"x" * 65_537])
def test_what_cannot_be_kept_is_not_sent(
    run: Run, safe: Safe, monkeypatch: pytest.MonkeyPatch, value: bytes
) -> None:
    typed(monkeypatch, value)
    result = run("secret", "set", "db")
    assert result.code == 2
    assert "a value has 1 to 65536 bytes" in result.err
    assert safe.changes == []


def test_nobody_is_asked_who_is_not_there(
    run: Run, safe: Safe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (("rotate", "db"), ("delete", "db"), ("rotate-key",)):
        typed(monkeypatch, VALUE.encode())
        result = run("secret", *words)
        assert result.code == 2
        assert "say --yes" in result.err
    assert (safe.changes, safe.gone) == ([], [])


def test_secrets_are_listed_without_values(run: Run, safe: Safe) -> None:
    assert safe.changes == []
    listed = run("secret", "list").out
    assert "db    2" in listed
    assert "web, job backup" in listed
    [said] = json.loads(run("secret", "list", "--json").out)
    assert said == {
        "note": {"name": "db", "version": 2, "changed_ms": 0, "by": "ada"},
        "services": ["web"],
        "jobs": ["backup"],
    }


def test_a_secret_goes_and_the_key_is_changed(run: Run, safe: Safe) -> None:
    assert run("secret", "delete", "db", "--yes", "--why", "gone").code == 0
    assert safe.gone == ["/v1/secrets/db True gone"]
    said = run("secret", "rotate-key", "--yes", "--why", "replaced").out
    assert "sealed anew: 1" in said
    assert "old is opened by no key of this controller" in said
