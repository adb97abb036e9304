"""The HTTP edge; the only importer of uvicorn and aiohttp."""
