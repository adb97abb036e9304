"""Turns a `StepPlan` into tensors, runs the model on them, and draws the next tokens."""
