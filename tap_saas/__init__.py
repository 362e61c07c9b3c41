"""One Singer tap for any SaaS HTTP API."""

__version__ = "0.1.0"
