"""Wires between machines: bridges, veths, delay and loss."""
