"""Keys, certificates, and TLS with them."""
