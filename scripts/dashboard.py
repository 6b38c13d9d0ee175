"""Write the dashboard for Grafana, `packaging/grafana/pltfrms.dashboard.json`.

    .venv/bin/python scripts/dashboard.py

All controllers say the same of the platform, each as far as it knows: so `max by` or `min by`,
as in the alerts. A sum is of what each of them did itself. What is not known has no value, and
never looks like 0: `_or_none_known` has a 0 only while the metric is told.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parents[1] / "packaging" / "grafana" / "pltfrms.dashboard.json"
COLUMNS: Final = 24
_SCHEMA: Final = 39
_PANELS: Final = "11.0.0"
"""The release whose panels these are: without it Grafana mends what 6.1 had otherwise."""
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_HEIGHTS: Final = {"stat": 4, "timeseries": 8, "table": 8}
_WIDTHS: Final = {"stat": 4, "timeseries": 8, "table": 8}
_LATELY: Final = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: a number, lines, or a table of what is amiss."""

    title: str
    queries: tuple[tuple[str, str], ...]
    """Expressions, each with what it is called."""
    what: str
    kind: str = "timeseries"
    unit: str = "short"
    bad_from: float | None = None
    """From here on a number is red."""
    bad_below: float | None = None


def _lines(title: str, what: str, expr: str, legend: str, unit: str = "short") -> Panel:
    return Panel(title, ((expr, legend),), what, unit=unit)


def _number(title: str, what: str, expr: str, unit: str = "short") -> Panel:
    """Return a number that is good while it is 0."""
    return Panel(title, ((expr, ""),), what, "stat", unit, bad_from=1)


def _table(title: str, what: str, expr: str) -> Panel:
    return Panel(title, ((expr, ""),), what, "table")


def _or_none_known(expr: str, metric: str) -> str:
    return f"{expr} or 0 * max({metric})"


def _missing(of: str) -> str:
    weak = f'pltfrms_weaknesses{{of="{of}",loss="nothing",survival="not survived"}}'
    return _or_none_known(f"max({weak})", "pltfrms_redundancy")


def _rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}{_LATELY}))"


def _asked(by: str, which: str, more: str = "") -> str:
    """Return the rate of questions of vantage points, or of what came of them.

    Each controller hears all of them: the one that heard most is right.
    """
    each = f"vantage, service, family{more}"
    return f"sum by ({by}) (max by ({each}) (rate(pltfrms_probe_{which}{_LATELY})))"


def _unanswered(by: str) -> str:
    """Return the part of questions that fails; nothing where nobody asks."""
    failed = _asked(by, 'attempts_total{result="failed"}')
    return f"{failed} / ({_asked(by, 'attempts_total', ', result')} > 0)"


_SERVED = (
    Panel(
        "Questions without an answer",
        ((f"max({_unanswered('service')})", ""),),
        "Of vantage points, who ask as clients do; of the service that answers worst.",
        "stat",
        "percentunit",
        bad_from=0.01,
    ),
    Panel(
        "Vantage points",
        (('max(pltfrms_vantage_points{state="reporting"})', ""),),
        "That say something now. With none, nobody knows whether clients are served.",
        "stat",
        bad_below=1,
    ),
    _number("Services not served", "Without a ready replica anywhere.", _missing("service")),
    _number("Aggregates announced nowhere", "And a service needs them.", _missing("aggregate")),
    _number(
        "No way back",
        "Edges, by address family, without a default route or a full table.",
        _or_none_known(
            "count(max by (machine, family) (pltfrms_way_back) == 0)", "pltfrms_way_back"
        ),
    ),
    Panel(
        "Controllers that read the store",
        (("sum(pltfrms_store_up)", ""),),
        "With none, what is below is not known. What runs and is announced goes on.",
        "stat",
        bad_below=1,
    ),
    _lines(
        "Questions without an answer, by service",
        "pltfrms vantage show says how they fail.",
        _unanswered("service"),
        "{{service}}",
        "percentunit",
    ),
    _lines(
        "Questions without an answer, by who asks",
        "Edges of a datacenter together, and vantage points outside.",
        _unanswered("vantage"),
        "{{vantage}}",
        "percentunit",
    ),
    _lines(
        "p99 of answers to vantage points",
        "The way there is in it.",
        f"histogram_quantile(0.99, {_asked('service, le', 'duration_seconds_bucket', ', le')})",
        "{{service}}",
        "s",
    ),
    _lines(
        "Datacenters that announce an aggregate",
        "As far as is known.",
        "max by (prefix) (pltfrms_aggregate_announced_datacenters)",
        "{{prefix}}",
    ),
    Panel(
        "Sessions that announce an aggregate",
        (
            ("max by (prefix) (pltfrms_aggregate_announced_sessions)", "{{prefix}}"),
            (
                "min by (prefix) (pltfrms_aggregate_unknown_sessions) > 0",
                "{{prefix}} not known",
            ),
        ),
        "With the outside.",
    ),
    _lines(
        "Edges that announce an aggregate",
        "1: it does. An edge out of contact says nothing.",
        "max by (machine, prefix) (pltfrms_aggregate_announced)",
        "{{machine}} {{prefix}}",
    ),
)
_ONE_MORE = (
    _number(
        "One more failure is not survived",
        "1: pltfrms redundancy says which.",
        'max(pltfrms_redundancy{survival="not survived"})',
    ),
    _number(
        "Whether one more is survived is not known",
        "1: machines are out of contact.",
        'max(pltfrms_redundancy{survival="not known"})',
    ),
    Panel(
        "Spare members of the store",
        (("min(pltfrms_store_spare_members)", ""),),
        "How many may fail, all the same; -1: nobody can say.",
        "stat",
        bad_below=1,
    ),
    Panel(
        "Controllers that live",
        (("max(pltfrms_controllers)", ""),),
        "As the store says.",
        "stat",
        bad_below=2,
    ),
    Panel(
        "Age of the newest backup",
        (("min(pltfrms_backup_age_seconds)", ""),),
        "Not known also where no controller makes backups.",
        "stat",
        "s",
        bad_from=2 * 86_400,
    ),
    _lines(
        "Weaknesses",
        "What would lose something, by what is lost next. None: there is no line.",
        "max by (of, loss, survival) (pltfrms_weaknesses)",
        "{{of}}: {{loss}} {{survival}}",
    ),
    _lines(
        "How full the store is",
        "At 100 % it refuses writes.",
        'max by (member) (pltfrms_store_member_bytes{size="used"})'
        ' / max by (member) (pltfrms_store_member_bytes{size="quota"} > 0)',
        "{{member}}",
        "percentunit",
    ),
)
_BROKEN = (
    _number("Machines lost", "No heartbeat, no edge.", 'max(pltfrms_machines{contact="lost"})'),
    _number(
        "Machines not known",
        "No heartbeat; they may well serve.",
        'min(pltfrms_machines{contact="unknown"})',
    ),
    _number(
        "Sessions with the outside down",
        "Drained ones stay up.",
        _or_none_known(
            'count(max by (machine, session) (pltfrms_session_up{session=~"peer[.].*"}) == 0)',
            "pltfrms_session_up",
        ),
    ),
    _number(
        "Links down",
        "Of the backbone: no end gets an answer.",
        _or_none_known("count(max by (link) (pltfrms_link_up) == 0)", "pltfrms_link_up"),
    ),
    _number(
        "Members of the store down",
        "They do not answer.",
        _or_none_known(
            "count(max by (member) (pltfrms_store_member_up) == 0)", "pltfrms_store_member_up"
        ),
    ),
    _number(
        "Documents that cannot be read",
        "A controller is of an older release.",
        "max(pltfrms_unreadable_documents)",
    ),
    Panel(
        "Machines by contact",
        (
            ('max(pltfrms_machines{contact="present"})', "present"),
            ('max(pltfrms_machines{contact="lost"})', "lost"),
            ('min(pltfrms_machines{contact="unknown"})', "unknown"),
        ),
        "As the controller says that knows most.",
    ),
    _lines(
        "Instances by phase",
        "Of replicas that are placed.",
        "max by (phase) (pltfrms_instances)",
        "{{phase}}",
    ),
    _lines(
        "What cannot be done now",
        "By reason; pltfrms explain says of what.",
        "max by (reason) (pltfrms_notes)",
        "{{reason}}",
    ),
    _table(
        "Sessions down",
        "With whomever.",
        "max by (machine, session) (pltfrms_session_up) == 0",
    ),
    _table(
        "Routing that is not confirmed",
        "A configuration waits, is tried, or went back.",
        'max by (machine, state) (pltfrms_routing_state{state!="confirmed"}) == 1',
    ),
    _lines(
        "Round trip of links",
        "Of the backbone. A link that is down has none.",
        "max by (link) (pltfrms_link_rtt_seconds)",
        "{{link}}",
        "s",
    ),
)
_BY_HAND = (
    _number("Frozen", "1: no route of ours changes, whatever fails.", "max(pltfrms_frozen)"),
    _number(
        "Drains",
        "Of peers, edges and datacenters, that are under way or complete.",
        'sum(max by (phase) (pltfrms_drains{phase=~"shutdown|withdrawn"}))',
    ),
    _number("Drained nodes", "Their replicas run elsewhere.", "max(pltfrms_drained_nodes)"),
    _number("Blackholes", "Addresses that are given up.", "max(pltfrms_blackholes)"),
    _number("Brakes released", "By datacenter.", "max(pltfrms_brakes_released)"),
    _number(
        "Overrides that have ended",
        "Remove them from platform.yaml.",
        'max(pltfrms_overrides_ending{state="over"})',
    ),
)
_ROLLOUTS = (
    _lines(
        "Services by their last rollout",
        "A failed one went back by itself.",
        "max by (state) (pltfrms_rollouts)",
        "{{state}}",
    ),
    _lines(
        "What became of rollouts",
        "Steps, by reason.",
        f"sum by (reason) (increase(pltfrms_rollout_steps_total{_LATELY}))",
        "{{reason}}",
    ),
    _lines(
        "Requests that failed",
        "Of versions that are compared now.",
        "max by (service, version) (pltfrms_rollout_compared_failed_ratio)",
        "{{service}} {{version}}",
        "percentunit",
    ),
    _lines(
        "p95 of good answers",
        "Of versions that are compared now.",
        "max by (service, version) (pltfrms_rollout_compared_p95_seconds)",
        "{{service}} {{version}}",
        "s",
    ),
)
_COST = (
    Panel(
        "Controllers that decide",
        (("sum(pltfrms_deciding)", ""),),
        "pltfrms status says why one does not.",
        "stat",
        bad_below=1,
    ),
    _lines("Heartbeats", "Taken each second.", _rate("pltfrms_heartbeats_total"), "taken"),
    Panel(
        "Calls of the store",
        (
            (_rate("pltfrms_store_calls_total"), "made"),
            (_rate("pltfrms_store_errors_total"), "not answered"),
        ),
        "Each second.",
    ),
    _lines(
        "Time of a call of the store",
        "On average, by controller.",
        f"{_rate('pltfrms_store_seconds_total', 'instance')}"
        f" / {_rate('pltfrms_store_calls_total', 'instance')}",
        "{{instance}}",
        "s",
    ),
    Panel(
        "Plans and commits",
        (
            (_rate("pltfrms_plans_total"), "plans"),
            (_rate("pltfrms_commits_total"), "commits"),
            (_rate("pltfrms_conflicts_total"), "conflicts"),
        ),
        "Each second.",
    ),
    _lines(
        "Steps of plans", "Each second.", _rate("pltfrms_steps_total", "reason"), "{{reason}}"
    ),
    _lines(
        "Requests sent away",
        "Each second, by lane and by what was used up.",
        _rate("pltfrms_api_refused_total", "lane, reason"),
        "{{lane}}: {{reason}}",
    ),
    _lines(
        "Requests under way",
        "By lane, of all controllers.",
        "sum by (lane) (pltfrms_api_requests)",
        "{{lane}}",
    ),
)
_CONNECTIONS = (
    _lines(
        "Open connections",
        "By caller, of all controllers.",
        "sum by (caller) (pltfrms_api_connections)",
        "{{caller}}",
    ),
    _lines(
        "Connections that controllers closed",
        "Each second, by reason.",
        _rate("pltfrms_api_closed_connections_total", "reason"),
        "{{reason}}",
    ),
)
ROWS: Final = {
    "Are clients served?": _SERVED,
    "May one more fail?": _ONE_MORE,
    "What is broken?": _BROKEN,
    "What is done by hand?": _BY_HAND,
    "Rollouts": _ROLLOUTS,
    "What does the control plane cost?": _COST,
    "Connections": _CONNECTIONS,
}
"""In the order in which somebody asks who was woken."""


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    return {
        "uid": "pltfrms",
        "title": "PLTFRMS",
        "tags": ["pltfrms"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_variable()]},
        "panels": list(_placed()),
    }


def _variable() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
    }


def _placed() -> Iterator[dict[str, Any]]:
    """Yield rows and their panels from the left to the right, numbers and lines in turn."""
    ids, top = count(1), 0
    for title, panels in ROWS.items():
        yield {
            "id": next(ids),
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }
        top, left, height = top + 1, 0, 0
        for panel in panels:
            wide, high = _WIDTHS[panel.kind], _HEIGHTS[panel.kind]
            if left + wide > COLUMNS or height not in {0, high}:
                top, left = top + height, 0
            place = {"x": left, "y": top, "w": wide, "h": high}
            yield {"id": next(ids), "gridPos": place, **_drawn(panel)}
            left, height = left + wide, high
        top += height


def _drawn(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "noValue": "none, or not known"}
    if panel.kind == "stat":
        defaults |= {
            "noValue": "not known",
            "color": {"mode": "thresholds"},
            "thresholds": {"mode": "absolute", "steps": _steps(panel)},
        }
    return {
        "type": panel.kind,
        "pluginVersion": _PANELS,
        "title": panel.title,
        "description": panel.what,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend or "__auto",
                "instant": panel.kind != "timeseries",
                "range": panel.kind == "timeseries",
                "format": "table" if panel.kind == "table" else "time_series",
            }
            for at, (expr, legend) in enumerate(panel.queries)
        ],
    }


def _steps(panel: Panel) -> list[dict[str, Any]]:
    if panel.bad_below is not None:
        return [{"color": "red", "value": None}, {"color": "green", "value": panel.bad_below}]
    return [{"color": "green", "value": None}, {"color": "red", "value": panel.bad_from}]


def _options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": reduced, "colorMode": "background", "graphMode": "none"}
    if kind == "timeseries":
        legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
        return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    return {"showHeader": True}


def text() -> str:
    """Return what the file is to have in it."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
