"""What the load generator decides and computes, without clock, socket or randomness."""
