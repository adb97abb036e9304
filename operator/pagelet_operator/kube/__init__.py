"""Kubernetes: the only package that knows kopf and the Kubernetes client."""
