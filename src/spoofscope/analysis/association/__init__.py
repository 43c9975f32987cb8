"""Association: whether a predictor goes with the gap of attacks, and what takes the answer back."""
