"""WireGuard links, in the kernel or in userspace."""
