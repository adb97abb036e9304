"""One machine: the same control loop over child processes instead of pods."""
