"""The demo: a sandbox API and a PostgreSQL of its own, and one pulled into the other by Meltano."""
