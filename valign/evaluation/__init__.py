"""Evaluation: the arms answer, their answers are measured, and the means get intervals and tests."""
