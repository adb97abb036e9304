"""Pagelet's gateway: one OpenAI-compatible endpoint in front of all models and revisions."""
