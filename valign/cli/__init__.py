"""Command line: Hydra, exit codes, and every mistake explained in one line."""
