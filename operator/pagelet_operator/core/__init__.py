"""Pure decisions of the control plane: no clock, no I/O, no Kubernetes; time is an argument."""
