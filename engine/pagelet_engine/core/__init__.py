"""Pure decisions of the engine: no torch, no clock, no I/O; time is an argument."""
