"""The `pagelet` command. Importing it imports none of torch, kopf and fastapi."""
