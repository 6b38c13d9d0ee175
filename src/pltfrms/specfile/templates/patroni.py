"""What Patroni is told: as far as it is the same for all replicas of a service.

JSON is YAML. What belongs to the place of a replica, `pltfrms_postgres` adds on its node.
"""

from datetime import UTC, datetime
from typing import Any, Final

from pltfrms.specfile.shapes.postgres import PostgresShape, RestoreShape

HOME: Final = "/var/lib/postgresql/member"
"""The volume, as an instance sees it."""
PORT: Final = 5432
API_PORT: Final = 8008
_ADDRESS: Final = "[${pltfrms.replica.address6}]"
_TLS: Final = f"{HOME}/tls"
_MEMBERS: Final = "members"
_REPLICATION, _REWIND, _SUPERUSER = "replicator", "rewinder", "postgres"
ROLES: Final = (_REPLICATION, _REWIND, _SUPERUSER)
"""What members are among each other: nobody else may be called so."""
_MIB: Final = 1024 * 1024
_LAG_BYTES: Final = _MIB
"""Without synchronous standbys, who is further behind is not elected."""


def patroni_configuration(service: str, words: PostgresShape) -> dict[str, Any]:
    """Return the configuration of all replicas, with variables that each fills itself."""
    shown = {"certfile": f"{_TLS}/own.pem", "keyfile": f"{_TLS}/own.key"}
    return {
        "scope": service,
        "name": "${pltfrms.replica.name}",
        "restapi": {
            "listen": f"*:{API_PORT}",
            "connect_address": f"{_ADDRESS}:{API_PORT}",
            "cafile": f"{_TLS}/ca.pem",
            "verify_client": "optional",
            **shown,
        },
        "ctl": {"cacert": f"{_TLS}/ca.pem", **shown},
        "bootstrap": {
            "dcs": cluster_settings(words),
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
            **(_restored(words.restore) if words.restore else {}),
        },
        "postgresql": _postgresql(service, words),
        "watchdog": {"mode": "off"},
    }


def cluster_settings(words: PostgresShape) -> dict[str, Any]:
    """Return what all replicas agree on in their part of the store.

    Less than these times Patroni does not take; a primary that dies unnoticed costs up to ttl.
    """
    return {
        "ttl": 20,
        "loop_wait": 1,
        "retry_timeout": 3,
        "primary_start_timeout": 0,
        "failsafe_mode": True,
        "maximum_lag_on_failover": _LAG_BYTES,
        "synchronous_mode": False if words.durability == "async" else "quorum",
        "synchronous_mode_strict": words.durability == "strict",
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {**_parameters(words), **words.parameters},
        },
    }


def _parameters(words: PostgresShape) -> dict[str, Any]:
    """Return settings that others may change, but for those in `OURS`."""
    return {
        "shared_buffers": f"{max(16, words.memory // 4 // _MIB)}MB",
        "effective_cache_size": f"{max(16, words.memory // 2 // _MIB)}MB",
        "max_slot_wal_keep_size": f"{max(16, words.size // 4 // _MIB)}MB",
        "wal_log_hints": "on",
        "wal_sender_timeout": "5s",
        "wal_receiver_timeout": "5s",
        "wal_receiver_status_interval": "1s",
        "wal_retrieve_retry_interval": "500ms",
        "tcp_user_timeout": 3000,
        "password_encryption": "scram-sha-256",
    }


def _postgresql(service: str, words: PostgresShape) -> dict[str, Any]:
    return {
        "listen": f"*:{PORT}",
        "connect_address": f"{_ADDRESS}:{PORT}",
        "data_dir": f"{HOME}/{words.version}",
        "bin_dir": f"/usr/lib/postgresql/{words.version}/bin",
        "pgpass": f"{HOME}/run/pgpass",
        "use_unix_socket": True,
        "use_unix_socket_repl": True,
        "authentication": {
            "superuser": {"username": _SUPERUSER},
            "replication": _by_certificate(_REPLICATION),
            "rewind": _by_certificate(_REWIND),
        },
        "parameters": {
            "unix_socket_directories": f"{HOME}/run",
            "ssl": "on",
            "ssl_cert_file": f"{_TLS}/own.pem",
            "ssl_key_file": f"{_TLS}/own.key",
            "ssl_ca_file": f"{_TLS}/ca.pem",
            "ssl_min_protocol_version": "TLSv1.3",
            **(_archived(service) if words.backup else {}),
        },
        "pg_hba": [
            f"local all {_SUPERUSER} peer",
            f"local replication {_REPLICATION} peer map={_MEMBERS}",
            "local all all scram-sha-256",
            f"hostssl replication {_REPLICATION} all cert map={_MEMBERS}",
            f"hostssl all {_SUPERUSER},{_REWIND} all cert map={_MEMBERS}",
            f"host all {','.join(ROLES)} all reject",
            "hostssl all all all scram-sha-256",
        ],
        "pg_ident": [
            f"{_MEMBERS} {_SUPERUSER} {_REPLICATION}",
            *(f"{_MEMBERS} {service} {role}" for role in ROLES),
        ],
        "basebackup": [{"checkpoint": "fast"}],
    }


def _archived(service: str) -> dict[str, Any]:
    """Return how the log of a primary gets into its backups: within a minute."""
    return {
        "archive_mode": "on",
        "archive_timeout": "60s",
        "archive_command": f"{_pgbackrest('backup', service)} archive-push %p",
    }


def _restored(words: RestoreShape) -> dict[str, Any]:
    """Return how the first replica of all gets its data from backups.

    No other one reads them: who asks a place that does not answer is late to be primary.
    """
    command = f"{_pgbackrest('restore', words.service)} restore"
    if words.at is not None:
        moment = datetime.fromtimestamp(words.at / 1000, UTC)
        target = moment.isoformat(sep=" ", timespec="milliseconds")
        command += f" --type=time '--target={target}' --target-action=promote"
    return {
        "method": "restored",
        "restored": {
            "command": command,
            "keep_existing_recovery_conf": True,
            "no_params": True,
        },
    }


def _pgbackrest(file: str, service: str) -> str:
    return f"/usr/bin/pgbackrest --config={HOME}/run/{file}.conf --stanza={service}"


def _by_certificate(user: str) -> dict[str, str]:
    return {
        "username": user,
        "sslmode": "verify-full",
        "sslcert": f"{_TLS}/own.pem",
        "sslkey": f"{_TLS}/own.key",
        "sslrootcert": f"{_TLS}/ca.pem",
    }
