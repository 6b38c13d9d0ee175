"""The balancer drives the director, its program in the kernel (`director/`)."""
