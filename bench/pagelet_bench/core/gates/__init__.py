"""What a gate measures, as pure functions over what was seen."""
