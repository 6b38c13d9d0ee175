"""What an operator may ask of a controller, by his role in the platform. Pure.

Every question of the API has a rule here, or is refused: `tests/api/test_roles.py` asks each.
As long as no operator has a role, all who are let in may do all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from typing import Final

from pltfrms.model.network.topology import Operator, OperatorRole, Platform


class Need(IntEnum):
    """What a question needs; from METRICS on each includes those before it."""

    ANYBODY = 0
    MACHINE = 1
    """It is a machine's own business: operators do not ask it."""
    VANTAGE = 2
    """A machine's, or that of a vantage point outside, which may ask nothing else."""
    METRICS = 3
    """Also for who may read metrics, and nothing else."""
    VIEW = 4
    DEPLOY = 5
    OPERATE = 6
    ADMIN = 7


class Known(StrEnum):
    """How it is known who asks."""

    NOBODY = ""
    """It is not."""
    LOGIN = "login"
    VANTAGE = "vantage token"
    """Of a vantage point, whom no person speaks for."""
    METRICS = "metrics token"
    """Of a metrics reader, likewise."""
    CERTIFICATE = "certificate"
    """Of a controller: who has root there has the store."""
    ROOT = "local root"
    """Of this machine: nobody can keep him from anything, so he is written down."""


PART_QUESTIONS: Final = (
    ("GET", "/version"),
    ("POST", "/v3/auth/authenticate"),
    ("POST", "/v3/cluster/member/list"),
    ("POST", "/v3/kv/deleterange"),
    ("POST", "/v3/kv/put"),
    ("POST", "/v3/kv/range"),
    ("POST", "/v3/kv/txn"),
    ("POST", "/v3/lease/grant"),
    ("POST", "/v3/lease/keepalive"),
    ("POST", "/v3/lease/revoke"),
    ("POST", "/v3/watch"),
)
"""Of instances about their part of the store: the gate knows them by tokens of its own."""

_NEEDS: Final[Mapping[tuple[str, str], Need]] = {
    ("GET", "/healthz"): Need.ANYBODY,
    ("GET", "/readyz"): Need.ANYBODY,
    ("GET", "/v1/login"): Need.ANYBODY,
    ("POST", "/v1/login"): Need.ANYBODY,
    ("GET", "/v1/identity/roots"): Need.ANYBODY,
    ("POST", "/v1/identity/join"): Need.ANYBODY,
    ("POST", "/v1/identity/nonce"): Need.ANYBODY,
    ("POST", "/v1/identity/return"): Need.ANYBODY,
    **dict.fromkeys(PART_QUESTIONS, Need.ANYBODY),
    ("GET", "/v1/identity/store"): Need.MACHINE,
    ("GET", "/v1/identity/secrets"): Need.MACHINE,
    ("POST", "/v1/identity/renewal"): Need.MACHINE,
    ("POST", "/v1/identity/leave"): Need.MACHINE,
    ("POST", "/v1/heartbeats"): Need.MACHINE,
    ("POST", "/v1/leases"): Need.MACHINE,
    ("GET", "/v1/targets/{machine}"): Need.MACHINE,
    ("POST", "/v1/vantage/reports"): Need.VANTAGE,
    ("GET", "/openapi.json"): Need.VIEW,
    ("GET", "/metrics"): Need.METRICS,
    ("GET", "/v1/prometheus/targets"): Need.METRICS,
    ("GET", "/v1/snapshot"): Need.VIEW,
    ("GET", "/v1/view"): Need.VIEW,
    ("GET", "/v1/stream"): Need.VIEW,
    ("GET", "/v1/vantage"): Need.VIEW,
    ("POST", "/v1/plan"): Need.VIEW,
    ("GET", "/v1/audit"): Need.VIEW,
    ("GET", "/v1/events"): Need.VIEW,
    ("GET", "/v1/services/{name}/versions"): Need.VIEW,
    ("GET", "/v1/services/{name}/logs"): Need.VIEW,
    ("GET", "/v1/jobs/{name}/logs"): Need.VIEW,
    ("GET", "/v1/balancers"): Need.VIEW,
    ("GET", "/v1/balancers/{machine}"): Need.VIEW,
    ("GET", "/v1/balancers/{machine}/row"): Need.VIEW,
    ("GET", "/v1/routes"): Need.VIEW,
    ("GET", "/v1/routes/{machine}"): Need.VIEW,
    ("GET", "/v1/sessions/{machine}/{name}"): Need.VIEW,
    ("GET", "/v1/requests"): Need.VIEW,
    ("GET", "/v1/secrets"): Need.VIEW,
    ("POST", "/v1/apply"): Need.DEPLOY,
    ("DELETE", "/v1/services/{name}"): Need.DEPLOY,
    ("POST", "/v1/rollouts"): Need.DEPLOY,
    ("POST", "/v1/jobs"): Need.DEPLOY,
    ("POST", "/v1/secrets"): Need.DEPLOY,
    ("DELETE", "/v1/secrets/{name}"): Need.DEPLOY,
    ("POST", "/v1/interventions"): Need.OPERATE,
    ("POST", "/v1/services/{name}/exec"): Need.OPERATE,
    ("POST", "/v1/volumes/{volume}/release"): Need.OPERATE,
    ("POST", "/v1/requests"): Need.OPERATE,
    # Its text may have passwords of sessions in it.
    ("GET", "/v1/requests/{number}"): Need.OPERATE,
    ("POST", "/v1/requests/{number}/approval"): Need.OPERATE,
    ("POST", "/v1/requests/{number}/withdrawal"): Need.OPERATE,
    ("POST", "/v1/identity/tokens"): Need.ADMIN,
    ("POST", "/v1/secrets-key"): Need.ADMIN,
    ("POST", "/v1/vantage/tokens"): Need.ADMIN,
}
_ALIKE: Final[defaultdict[tuple[str, int], list[tuple[list[str], Need]]]] = defaultdict(list)
"""Those with a name in them, the path in its parts: by method and how many these are."""
for (_method, _path), _need in _NEEDS.items():
    if "{" in _path:
        _ALIKE[_method, _path.count("/") + 1].append((_path.split("/"), _need))
_MAY: Final = {
    None: Need.VIEW,
    OperatorRole.VIEWER: Need.VIEW,
    OperatorRole.DEPLOYER: Need.DEPLOY,
    OperatorRole.OPERATOR: Need.OPERATE,
    OperatorRole.ADMIN: Need.ADMIN,
}
_ALONE: Final = {
    Known.VANTAGE: (Need.VANTAGE, "a vantage point may report what it sees only"),
    Known.METRICS: (Need.METRICS, "who reads metrics may do nothing else"),
}
"""Who may do one thing, whatever roles say."""
_LOG_IN: Final = "only who has logged in may do that: pltfrms login"
_PLATFORM: Final = "platform"
_DEPLOYED: Final = ("service/", "secret/", "job/")


def roles_hold(platform: Platform) -> bool:
    """Return whether roles say who may do what: as soon as one operator has one."""
    return any(operator.role for operator in platform.operators)


def need_of(method: str, path: str) -> Need | None:
    """Return what a question needs; None: there is no rule for it, so it is refused."""
    found = _NEEDS.get((method, path))
    if found is not None:
        return found
    parts = path.split("/")
    for words, need in _ALIKE.get((method, len(parts)), ()):
        if all(
            word == part or (word.startswith("{") and part)
            for word, part in zip(words, parts, strict=True)
        ):
            return need
    return None


def why_not_asked(
    need: Need, known: Known, operator: Operator | None, platform: Platform | None
) -> str:
    """Return why a question is refused to somebody; empty: it is not.

    Who has logged in is `operator`. What he may change, `why_not_changed` says. Without a
    platform, as in a store that is empty, there is nobody who could have logged in.
    """
    if need is Need.ANYBODY or known in {Known.ROOT, Known.CERTIFICATE}:
        return ""
    if known in _ALONE:
        may, why = _ALONE[known]
        return "" if need is may else why
    if known is Known.NOBODY:
        holds = platform is not None and roles_hold(platform)
        return _LOG_IN if need > Need.VIEW and holds else ""
    if need in {Need.MACHINE, Need.VANTAGE}:
        return "that is for machines to ask, not for operators"
    if platform is None or not roles_hold(platform):
        return ""
    role = operator.role if operator else None
    return "" if _MAY[role] >= need else _too_little(operator, need)


def why_not_changed(
    operator: Operator | None, about: Iterable[str], *, overrides: bool = False
) -> str:
    """Return why an operator may not change these things; empty: he may.

    They are called `platform`, `service/NAME`, `secret/NAME`, `job/NAME`, or as what is
    drained, frozen or blackholed. None is who is no operator of the platform, or not any more.
    """
    if operator is None:
        return "that is not an operator of the platform any more"
    may = _MAY[operator.role]
    if overrides and may < Need.OPERATE:
        return _too_little(operator, Need.OPERATE, "override a guard")
    for thing in about:
        need = Need.OPERATE
        if thing == _PLATFORM:
            need = Need.ADMIN
        elif thing.startswith(_DEPLOYED) and may is Need.DEPLOY:
            if not _deploys(operator, thing.partition("/")[2]):
                return f"{operator.name} may deploy {', '.join(operator.services)} only"
            need = Need.DEPLOY
        if may < need:
            return _too_little(operator, need, f"change {thing}")
    return ""


def _deploys(operator: Operator, service: str) -> bool:
    return any(
        service.startswith(pattern[:-1]) if pattern.endswith("*") else service == pattern
        for pattern in operator.services
    )


def _too_little(operator: Operator | None, need: Need, what: str = "do that") -> str:
    who = operator.name if operator else "who asks"
    role = (operator.role if operator else None) or OperatorRole.VIEWER
    least = next(each for each, may in _MAY.items() if each and may >= need)
    return f"{who} is a {role}; to {what} one must be {least}"
