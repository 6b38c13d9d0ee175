"""The balancer of this machine: who can serve, and the tables that say so to the kernel."""
