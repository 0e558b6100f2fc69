"""Evaluation: what an answer is worth (metrics), how sure that is (statistics), and the tables (scores)."""
