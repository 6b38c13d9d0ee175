"""The dashboard for Grafana: of metrics that are there, in words that Prometheus reads."""

import itertools
import re
import shutil
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from docs.site.pages import metrics
from pltfrms.model.network.interventions import DrainPhase
from pltfrms.model.running.redundancy import Loss, Survival
from pltfrms.model.running.state import Contact, RoutingState
from pltfrms.model.services.service import RolloutState
from scripts.dashboard import COLUMNS, FILE, ROWS, dashboard, text
from tests.api.test_alerts import NAME, families

COMPARED = ("service", "version")
SOMETIMES: dict[str, tuple[str, ...]] = {
    "pltfrms_backup_age_seconds": (),
    "pltfrms_rollout_compared_failed_ratio": COMPARED,
    "pltfrms_rollout_compared_p95_seconds": COMPARED,
}
"""Labels of what is told only by who makes backups, or while versions are compared."""
VALUES: dict[str, tuple[type[StrEnum], ...]] = {
    "contact": (Contact,),
    "loss": (Loss,),
    "phase": (DrainPhase,),
    "state": (RoutingState, RolloutState),
    "survival": (Survival,),
}
FREE = {
    "of": {"service", "aggregate"},
    "result": {"failed"},
    "session": {"peer[.].*"},
    "size": {"used", "quota"},
    "state": {"over", "reporting"},
}
"""Values that no enumeration has."""
OWN = {
    f"pltfrms_{name}" for name in ("deciding", "store_up", "api_requests", "api_connections")
}
"""What each controller says of itself, so that a sum makes sense."""
PANELS = [panel for panels in ROWS.values() for panel in panels]
EXPRESSIONS = [expr for panel in PANELS for expr, _ in panel.queries]
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"')
LABELS = families() | SOMETIMES
TOLD_TO_ALL = {"pltfrms_probe_attempts_total", "pltfrms_probe_duration_seconds_bucket"}
"""What each controller counts of the same reports."""
LABELS["pltfrms_probe_duration_seconds_bucket"] = (
    *LABELS["pltfrms_probe_duration_seconds"],
    "le",
)


def test_the_file_is_what_the_script_writes() -> None:
    assert FILE.read_text() == text(), ".venv/bin/python scripts/dashboard.py"


def test_what_is_told_only_sometimes_is_a_metric() -> None:
    assert SOMETIMES.keys() <= metrics().keys()


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_an_expression_names_what_there_is(expr: str) -> None:
    names = set(NAME.findall(expr))
    assert names
    assert names <= LABELS.keys()
    labels = {"instance"}.union(*(LABELS[name] for name in names))
    by = itertools.chain.from_iterable(
        re.split(r",\s*", found) for found in re.findall(r"by \(([^)]*)\)", expr)
    )
    matched = MATCHER.findall(expr)
    assert {*by, *(label for label, _ in matched)} <= labels
    for label, value in matched:
        known = {each.value for kind in VALUES.get(label, ()) for each in kind}
        known |= FREE.get(label, set())
        assert {value} <= known or set(value.split("|")) <= known


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_legend_names_labels_that_are_left(panel: Any) -> None:
    for expr, legend in panel.queries:
        left = re.search(r"by \(([^)]*)\)", expr)
        named = set(re.findall(r"{{(\w+)}}", legend))
        gone = {"le"} if expr.startswith("histogram_quantile") else set()
        assert named == (set(left[1].split(", ")) - gone if left and legend else set())


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_what_all_controllers_say_is_taken_once(expr: str) -> None:
    """And a sum is of what each of them did, or says of itself."""
    around = r"\b(max|min|sum)(?: by \([^)]*\))? ?\((?:(rate|increase)\()?"
    found = re.findall(around + r"(pltfrms_\w+)", expr)
    assert [name for *_, name in found] == NAME.findall(expr)
    for taken, rate, name in found:
        counts = name.endswith(("_total", "_bucket"))
        assert counts == bool(rate)
        assert (taken == "sum") == ((counts and name not in TOLD_TO_ALL) or name in OWN)


def test_it_fits_any_grafana() -> None:
    made = dashboard()
    panels = made["panels"]
    assert made["uid"] == "pltfrms"
    assert [each["name"] for each in made["templating"]["list"]] == ["datasource"]
    assert len({each["id"] for each in panels}) == len(panels)
    for panel in panels:
        sources = [
            panel.get("datasource"),
            *(q["datasource"] for q in panel.get("targets", ())),
        ]
        assert {each["uid"] for each in sources if each} <= {"${datasource}"}
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        across = range(place["x"], place["x"] + place["w"])
        cells = set(itertools.product(across, range(place["y"], place["y"] + place["h"])))
        assert max(across) < COLUMNS
        assert not cells & taken
        taken |= cells


UNITS = {"short", "percentunit", "s"}
"""Those of Grafana's that are used; one that it does not know is shown as a word."""
OPTIONS: dict[str, dict[str, set[str] | type]] = {
    "stat": {
        "colorMode": {"none", "value", "background", "background_solid"},
        "graphMode": {"none", "line", "area"},
        "reduceOptions": dict,
    },
    "table": {"showHeader": bool},
    "timeseries": {"legend": dict, "tooltip": dict},
}
"""As `@grafana/schema` 11.6 and 12.4 have them, with their values."""


def test_it_is_what_grafana_11_and_12_read() -> None:
    made = dashboard()
    assert made.keys() <= {
        *("uid", "title", "tags", "schemaVersion", "editable", "refresh", "time"),
        *("templating", "panels"),
    }, "no id, which is that of one Grafana"
    assert 39 <= made["schemaVersion"] <= 41, "11.0 has 39; newer ones mend what is older"
    (source,) = made["templating"]["list"]
    assert (source["type"], source["query"], source["refresh"]) == (
        "datasource",
        "prometheus",
        1,
    )
    asked = {panel["datasource"]["uid"] for panel in made["panels"] if "datasource" in panel}
    assert asked == {f"${{{source['name']}}}"}, "panels ask the variable"
    for panel in made["panels"]:
        assert isinstance(panel["id"], int)
        if panel["type"] == "row":
            assert (panel["collapsed"], panel["panels"]) == (False, [])
        else:
            check_panel(panel)


def check_panel(panel: dict[str, Any]) -> None:
    options = OPTIONS[panel["type"]]
    assert panel["pluginVersion"] == "11.0.0"
    assert panel["options"].keys() == options.keys()
    for name, value in panel["options"].items():
        allowed = options[name]
        fits = isinstance(value, allowed) if isinstance(allowed, type) else value in allowed
        assert fits, (panel["title"], name)
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    assert panel["fieldConfig"]["overrides"] == []
    steps = defaults.get("thresholds", {"steps": [{"value": None}]})["steps"]
    assert steps[0]["value"] is None, "the lowest has no bound"
    assert [each["refId"] for each in panel["targets"]] == list("ABC"[: len(panel["targets"])])
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["instant"] is not target["range"]
        assert target["format"] in {"time_series", "table"}
        assert target["expr"]


def promtool(directory: Path, *command: str) -> None:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("Debian's prometheus is not installed: scripts/install does that")
    done = subprocess.run(
        [found, *command],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def write_rules(directory: Path) -> None:
    rules = [
        {"record": f"panel:{at}", "expr": expr.replace("$__rate_interval", "5m")}
        for at, expr in enumerate(EXPRESSIONS)
    ]
    with (directory / "rules.yaml").open("w") as stream:
        YAML().dump({"groups": [{"name": "panels", "rules": rules}]}, stream)


def test_prometheus_reads_every_expression(tmp_path: Path) -> None:
    write_rules(tmp_path)
    promtool(tmp_path, "check", "rules", "rules.yaml")


def sample(series: str, value: str) -> dict[str, str]:
    return {"series": series, "values": f"{value}x10"}


def test_none_is_0_and_not_known_is_nothing(tmp_path: Path) -> None:
    served = next(expr for expr in EXPRESSIONS if 'of="service"' in expr)
    weak = (
        'pltfrms_weaknesses{of="service",loss="nothing",survival="not survived",instance="a"}'
    )
    well = sample('pltfrms_redundancy{survival="survived",job="a"}', "1")
    cases: list[tuple[list[dict[str, str]], list[float]]] = [
        ([], []),
        ([sample("pltfrms_store_up", "0")], []),
        ([well], [0]),
        ([well, sample(weak, "2"), sample(weak.replace('"a"', '"b"'), "1")], [2]),
    ]
    tests = [
        {
            "input_series": series,
            "promql_expr_test": [
                {
                    "expr": served,
                    "eval_time": "5m",
                    "exp_samples": [{"labels": "{}", "value": each} for each in values],
                }
            ],
        }
        for series, values in cases
    ]
    with (tmp_path / "tests.yaml").open("w") as stream:
        YAML().dump({"tests": tests}, stream)
    promtool(tmp_path, "test", "rules", "tests.yaml")
