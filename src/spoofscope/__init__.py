"""spoofscope tells you where an audio deepfake detector breaks and why."""

__version__ = "0.1.0"
