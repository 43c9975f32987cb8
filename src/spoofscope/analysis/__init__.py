"""Analysis: questions asked of scores and frozen embeddings."""
