"""The only side effects. Each is a protocol in `ports`, a real driver, an in-memory twin."""
