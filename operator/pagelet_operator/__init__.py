"""Pagelet's control plane: turns ModelDeployments into replicas and traffic, anywhere."""
