"""What runs beside PostgreSQL and Patroni on a node: the package `pltfrms-postgres`.

It needs Python's own library alone, and imports nothing of `pltfrms`: it runs on Debian's
interpreter, which the user of the database can read.
"""
