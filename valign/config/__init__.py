"""Config: the keys and their limits, the checks, the messages, and what identifies a run."""
