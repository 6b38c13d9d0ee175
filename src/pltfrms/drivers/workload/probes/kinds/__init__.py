"""Questions of probes that take more than a connection and a status line."""
