"""What an endpoint does with each parameter: probes and verdicts, without a socket."""
