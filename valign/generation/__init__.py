"""Generation: batched completions of a model in this process."""
