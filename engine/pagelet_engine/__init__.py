"""Pagelet's engine: one model on one machine, served over an OpenAI-compatible API.

Two processes. The API process (`server`) parses, renders, tokenizes and streams; the
engine process (`process`, `engine`) schedules and computes, and sees token ids only.
"""
