"""Who may ask what, and how long certificates and tokens are good for."""
