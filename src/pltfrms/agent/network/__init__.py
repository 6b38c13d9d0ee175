"""The machine's kernel: addresses, routes, filters, tunnels, loads."""
