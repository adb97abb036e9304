"""`pagelet gate`: tries a canary before users do, and says what was measured."""
