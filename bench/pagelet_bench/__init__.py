"""Pagelet's load generator: mixed-length traffic against an OpenAI-compatible endpoint."""
