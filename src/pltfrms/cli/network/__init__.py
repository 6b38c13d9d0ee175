"""The network: peers, edges, sessions, routes, the balancer, drains and freezes."""
