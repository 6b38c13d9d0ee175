"""`metrics token`: what reads metrics, and what the platform says of it."""

import json
import re
import stat
from pathlib import Path

from ruamel.yaml import YAML

from pltfrms.model.network.readers import MetricsReader, reader_of
from tests.cli.conftest import Run


def test_it_writes_the_token_for_our_eyes_and_says_what_the_platform_is_to_say(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "prometheus.token"
    done = run("metrics", "token", "prometheus", "--file", str(path))
    assert done.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = path.read_text()
    assert re.fullmatch(r"metrics\.[0-9a-f]{64}", token)
    said = YAML(typ="safe").load(done.out)["metrics"]["readers"]
    (reader,) = (MetricsReader(name=name, sha256=text) for name, text in said.items())
    assert reader_of([reader], token) == "prometheus"
    assert token not in done.out + done.err


def test_no_token_takes_the_place_of_another(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "prometheus.token"
    said = json.loads(run("metrics", "token", "p", "--file", str(path), "--json").out)
    before = path.read_text()
    done = run("metrics", "token", "p", "--file", str(path))
    assert (done.code, path.read_text()) == (2, before)
    other = json.loads(run("metrics", "token", "q", "--file", f"{path}2", "--json").out)
    assert (said["name"], other["name"]) == ("p", "q")
    assert said["sha256"] != other["sha256"]


def test_a_name_that_is_none_makes_nothing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert run("metrics", "token", "a b", "--file", str(path)).code == 2
    assert not path.exists()
