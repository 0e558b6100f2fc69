"""Retrieval: BM25, sentence embeddings, and the passages that they find."""
