"""Machines: nodes, datacenters, and the daemons that run on them."""
