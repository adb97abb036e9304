"""Replays a trace of requests against scaling policies, ours by the very code that scales."""
