"""`pagelet check`: asks an endpoint, parameter by parameter, what it really does."""
