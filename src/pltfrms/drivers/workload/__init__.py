"""Instances on a node: processes in namespaces, their limits, files, probes."""
