"""Attention over the paged KV cache: the cache, an oracle, and one fast path per device."""
