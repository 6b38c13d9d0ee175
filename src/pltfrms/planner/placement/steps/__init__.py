"""The steps of a plan that no rollout needs, each a pass over the draft."""
