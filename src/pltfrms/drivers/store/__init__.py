"""etcd, and its twin in memory: list, watch, commit, leases."""
