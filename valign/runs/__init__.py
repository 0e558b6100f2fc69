"""Runs: what a run folder holds and how to find one, and where curves and scores are logged."""
