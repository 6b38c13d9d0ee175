"""Patroni's configuration of one replica: what all have, and what its place adds. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

_OLDER: Final = timedelta(minutes=10)
"""By so much older data of another replica is no other beginning of the same service."""
_NEVER: Final = "never"


def replica_configuration(
    common: Mapping[str, Any],
    policy: Mapping[str, Any],
    peers: Mapping[str, Any],
    store: Mapping[str, Any],
    password: str,
) -> dict[str, Any]:
    """Return what Patroni is told on one node.

    `common` and `policy` are the files of the service, `peers` is who its members are, `store`
    where its part of the store is, and `password` the word for that.
    """
    bootstrap = dict(common["bootstrap"])
    if not may_begin(peers):
        bootstrap |= {"method": _NEVER, _NEVER: {"command": "/bin/false"}}
    return {
        **common,
        "bootstrap": bootstrap,
        "namespace": store["prefix"],
        "etcd3": _etcd3(store, password),
        "tags": tags_of(policy, own_of(peers)["datacenter"]),
    }


def own_of(peers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the member that we are; KeyError: we are none any more."""
    for each in peers["members"]:
        if each["name"] == peers["name"]:
            found: Mapping[str, Any] = each
            return found
    raise KeyError(peers["name"])


def may_begin(peers: Mapping[str, Any]) -> bool:
    """Return whether our data may be the first of the service, and not a copy of another's.

    Patroni has who comes first to an empty part of the store make a new database. That is
    wrong where another member has had data for long: the part was lost, not the data.
    """
    own = own_of(peers)["since"]
    others = (each["since"] for each in peers["members"])
    if own is None:
        return not any(others)
    return not any(each and _time(own) - _time(each) >= _OLDER for each in others)


def tags_of(policy: Mapping[str, Any], datacenter: str) -> dict[str, Any]:
    """Return whether a replica may become primary, and before which others."""
    if policy["promote"] and datacenter not in policy["promote"]:
        return {"nofailover": True}
    prefer = policy["prefer"]
    rank = len(prefer) - prefer.index(datacenter) if datacenter in prefer else 0
    return {"failover_priority": rank + 1}


def names_of(peers: Mapping[str, Any]) -> tuple[str, ...]:
    """Return whose certificate a replica has, as OpenSSL writes it: all that leads to it."""
    own = own_of(peers)
    _, _, service = own["name"].partition(".")
    names = (own["name"], service, f"writer.{service}", f"reader.{service}")
    addresses = (own["address6"], own["address4"])
    return (
        *(f"DNS:{each}" for each in names),
        *(f"IP:{each}" for each in addresses if each),
    )


def _etcd3(store: Mapping[str, Any], password: str) -> dict[str, Any]:
    secure = store["protocol"] == "https"
    return {
        "hosts": list(store["hosts"]),
        "protocol": store["protocol"],
        "username": store["user"],
        "password": password,
        **({"cacert": store["roots"]} if secure else {}),
    }


def _time(moment: str) -> datetime:
    return datetime.fromisoformat(moment)
