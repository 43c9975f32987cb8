"""Training: fit one of the built-in detectors to a list of trials.

A trainer takes `Trials` and frozen settings and returns `Trained`, whose `save` writes the safetensors file that the
detector's `weights` option takes. The same trials and settings give the same weights.
"""
