"""PLTFRMS: high availability for people who own an ASN and several datacenters."""

__version__ = "0.1.0"
