"""Probing: what can be told from embeddings, beside what a probe could have memorised."""
