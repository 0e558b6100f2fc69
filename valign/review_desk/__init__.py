"""The page on which people read the training data beside its clauses, and mend it."""
