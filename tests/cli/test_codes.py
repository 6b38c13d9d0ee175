"""Wrong words of the caller end with 2, whatever they are and whoever finds out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pltfrms.cli.shared import connect as connecting
from pltfrms.errors import NotFoundError
from tests.cli.conftest import Run
from tests.cli.world import EXAMPLE, FakeController, FakeLab

WRONG = """
service show nope
service show nope --spec
service history nope
service diff nope 1
service diff web 7
service diff web x
rollout status nope
rollout status nope --follow
rollout abort web
explain service/nope
explain nope
node list --datacenter nope
peer show nope
peer drain transit1 --wait x
peer drain transit1 --wait -1s
peer drain transit1 --at noon
peer drain transit1 --for 999999h
edge show nope
session list --machine nope
session show nope
session show nope@fra-e1
session show transit1@nope
route show nope
route show 198.51.100.0/24 --from nope
route show 198.51.100.0/24 --session nope
route why 198.51.100.0/24
route why 198.51.100.0/24 --to nope
route why 198.51.100.0/24 --to transit1@nope
route why nope --to transit1
balancer show nope
balancer show fra-c1
balancer show --service nope
balancer explain nope web
balancer explain 192.0.2.1:5 nope
balancer explain 192.0.2.1:5 web:nope
balancer explain 192.0.2.1:5 web --from nope
balancer explain 192.0.2.1:5 web --udp
catchment nope
catchment web --change EMPTY
network blackhole add nope --for 1h
network blackhole add 198.51.100.7 --for x
network blackhole remove nope
network audit --platform EXAMPLE/web.yaml
network prefixes nope
events --limit 0
plan EMPTY
plan EMPTY/none
plan EXAMPLE --against EMPTY
apply EMPTY
apply EXAMPLE --timeout 0s
apply EXAMPLE --yes-i-mean nope
render EMPTY
render EXAMPLE --machine nope
request show nope
request approve nope --yes
request withdraw nope
schema nope
completion nope
status --timeout 0s
status --timeout 1000h
status --lab nope
lab up EMPTY
lab down --lab nope
lab fault edge/none
lab fault node/fra-n1 --for 0s
lab probe web --from berlin --duration 0s
lab probe web --from berlin --duration 1ms
lab probe web --from berlin --duration 999h
lab probe web --from berlin --rate 0
lab probe web --from berlin --rate nan
lab probe web --from berlin --at 20s --fault edge/fra-e1
"""


class Unknowing(FakeController):
    """Its machines have nothing of what is asked for."""

    def get(self, path: str, parameters: Mapping[str, str], kind: type[Any]) -> NoReturn:
        raise NotFoundError(f"{path}: there is none ({parameters}, {kind})")


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("command", WRONG.strip().splitlines())
def test_wrong_words_end_with_2(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    unknowing = Unknowing()
    monkeypatch.setattr(connecting, "OperatorClient", lambda *_how: unknowing)
    places = {"EXAMPLE": str(EXAMPLE), "EMPTY": str(tmp_path)}
    words = command
    for name, place in places.items():
        words = words.replace(name, place)
    result = run(*words.split())
    assert (result.code, result.err != "") == (2, True), result.err


@pytest.mark.parametrize("words", [("status",), ("lab", "probe", "web", "--from", "berlin")])
def test_a_lab_that_does_not_run_is_a_wrong_word(
    run: Run, lab: FakeLab, words: tuple[str, ...]
) -> None:
    assert run(*words, "--lab", f"{lab.name}x").code == 2
