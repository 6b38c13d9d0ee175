"""`doctor`: what a person and a script get, without a kernel."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pltfrms.cli.machine import doctor as module
from pltfrms.cli.main import cli, main
from pltfrms.cli.shared.options import Settings
from pltfrms.model.network.ports import SeenMachine, SeenPort
from pltfrms.model.network.system import SeenSystem

PLATFORM = Path(__file__).parents[1] / "shapes" / "vlans-and-bonds" / "platform.yaml"
WORDS = ("doctor", "ports", "--platform", str(PLATFORM), "--machine")
GOOD = ("eno1.100", "bond0.20")


def _with(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def look() -> SeenMachine:
        return SeenMachine(ports=tuple(SeenPort(name=name, mtu=1600) for name in names))

    monkeypatch.setattr(module, "_look", look)


def _run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, words, obj=Settings())
    return done.exit_code, done.output


def test_a_machine_without_findings_is_well_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _with(monkeypatch, *GOOD)
    code, text = _run(*WORDS, "ham-c1")
    assert (code, text) == (0, "all is well: ham-c1, ports of the operating system: 2\n")
    assert _run(*WORDS, "ham-c1", "--json") == (0, "[]\n")


def test_each_finding_is_a_row_with_what_to_do_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _with(monkeypatch, "eno1", "bond0.20")
    code, text = _run(*WORDS, "ham-c1")
    assert code == 4
    assert "eno1.100  fabric a  wrong  there is no such interface (the operating system" in text
    code, text = _run(*WORDS, "ham-c1", "--json")
    (row,) = json.loads(text)
    assert code == 4
    assert (row["port"], row["use"], row["grade"]) == ("eno1.100", "fabric a", "wrong")


def test_without_a_part_the_machine_is_looked_at_beside_its_ports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def see(*_words: object) -> SeenSystem:
        return SeenSystem(synchronized=False)

    monkeypatch.setattr(module, "_see", see)
    _with(monkeypatch, "bond0.20")
    words = ("--platform", str(PLATFORM), "--machine", "ham-c1", "--json")
    uses = {
        part: [row["use"] for row in json.loads(_run("doctor", *part, *words)[1])]
        for part in ((), ("ports",), ("machine",))
    }
    assert uses == {
        (): ["fabric a", "clock"],
        ("ports",): ["fabric a"],
        ("machine",): ["clock"],
    }


def test_who_is_no_machine_of_the_platform_is_told_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*WORDS, "nope"]) == 2
    assert "there is no machine 'nope' of ours" in capsys.readouterr().err


def test_without_a_file_of_the_platform_it_asks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_CONFIGURATION", tmp_path)
    assert main(["doctor"]) == 2
    assert "--platform FILE" in capsys.readouterr().err
