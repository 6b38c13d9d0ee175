"""A node's instances: started, probed, drained, stopped."""
