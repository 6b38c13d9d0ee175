"""Images of containers, and what the runtime is told of one."""
