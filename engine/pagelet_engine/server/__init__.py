"""The API process: HTTP at the edge, text in the middle, the engine process behind a socket.

The only importer of fastapi and pydantic in this package. Runs no model code.
"""
