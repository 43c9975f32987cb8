"""What neighbours say of a trial: bona fide or spoof, which generator, or none that is known."""
