"""Where route tables come from."""
