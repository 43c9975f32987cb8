"""Retraining: detectors trained again, to learn what their gaps lean on."""
