"""Constrained output: what a client may demand of the text, and who makes sure of it.

A regex or a schema is a program somebody else wrote. It is compiled and run in a process of its
own, one per request, that anybody may kill:

    API process ──Compile──► worker ──fork──► matcher process ◄──tokens, masks──► engine process
      client.py              worker.py        matcher.py                          masks.py

The worker holds the vocabulary, so a fork is ready to compile at once. A matcher process has limits
on time and memory set by the kernel, listens on a socket file of its own, and sends the engine
process one bit per token of the vocabulary: may it come next? So the engine process reads bits,
never a schema, and a matcher that dies takes exactly one request with it.
"""
