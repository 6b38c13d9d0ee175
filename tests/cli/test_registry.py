"""`network audit` and `network prefixes`."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pltfrms.cli.main import cli, main
from pltfrms.cli.shared.options import Settings

PLATFORM = Path(__file__).parents[2] / "examples" / "three-datacenters" / "platform.yaml"


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, words, obj=Settings())
    return done.exit_code, done.output


def test_the_audit_of_a_file_warns_of_what_is_missing() -> None:
    code, text = run("network", "audit", "--platform", str(PLATFORM))
    assert code == 4
    assert "origins are not validated" in text
    assert "no controller was asked" in text


def test_the_audit_knows_roas(tmp_path: Path) -> None:
    roas = tmp_path / "roas.json"
    entry = {"prefix": "198.51.100.0/24", "asn": "AS64500", "maxLength": 24}
    roas.write_text(json.dumps({"roas": [entry]}))
    words = ("--platform", str(PLATFORM), "--roas", str(roas), "--json")
    _, text = run("network", "audit", *words)
    grades = {each["about"]: each["grade"] for each in json.loads(text)}
    assert grades["198.51.100.0/24"] == "good"
    assert grades["2001:db8:100::/48"] == "warning"


@pytest.mark.parametrize("text", ["", "[]", '{"roas": [{"prefix": "x"}]}', '{"roas": 3}'])
def test_roas_that_are_none_are_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    roas = tmp_path / "roas.json"
    roas.write_text(text)
    assert main(["network", "audit", "--platform", str(PLATFORM), "--roas", str(roas)]) == 2
    assert "roas" in capsys.readouterr().err


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a bgpq4 in front that answers what the file `answer` says, for IPv4 alone."""
    program = tmp_path / "bgpq4"
    answer = tmp_path / "answer"
    program.write_text(f'#!/bin/sh\n[ "$1" = -6 ] || cat {answer}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return answer


def test_prefixes_are_written_and_a_bad_answer_is_not(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "shop.txt"
    words = ["network", "prefixes", "AS-SHOP", "--output", str(output)]
    registry.write_text("".join(f"45.{n}.0.0/16\n" for n in range(10)))
    assert main(words) == 0
    good = output.read_text()
    assert good.count("\n45.") == 10
    registry.write_text("")
    assert main(words) == 4
    assert "empty_is_error" in capsys.readouterr().err
    registry.write_text("45.1.0.0/16\n")
    assert main(words) == 4
    assert "from 10 to 1" in capsys.readouterr().err
    assert output.read_text() == good
    assert main([*words, "--yes-i-mean", "shrink_guard"]) == 0
    assert output.read_text().count("\n45.") == 1


def test_a_registry_that_fails_is_said(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.write_text("")
    (tmp_path / "bgpq4").write_text("#!/bin/sh\necho no such host >&2; exit 1\n")
    assert main(["network", "prefixes", "AS-SHOP"]) == 5
    assert "no such host" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nope", "AS/x", "AS-;x", "-x", "AS..", "192.0.2.0/24", "AS"])
def test_what_is_no_as_set_is_not_asked_for(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    registry.write_text("45.1.0.0/16\n")
    assert main(["network", "prefixes", "--", name]) == 2
    assert "is not an AS set" in capsys.readouterr().err
    for known in ("AS64500", "as-shop", "RIPE::AS-SHOP", "AS64500:AS-SHOP", "RS-SHOP"):
        assert main(["network", "prefixes", known, "--output", str(tmp_path / "x.txt")]) == 0
