"""The page: results to one self-contained HTML file; computes no metric."""
