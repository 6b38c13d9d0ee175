"""The kernel's network: netlink, nftables, counters, bpf(2), and twins in memory."""
