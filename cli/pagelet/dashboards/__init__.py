"""Grafana dashboards as code; `charts/pagelet/files/dashboards/` is written from here."""
