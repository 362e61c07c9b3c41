"""Tools to write connectors."""
