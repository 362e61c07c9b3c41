"""The reference destination: settings, tables and guards for target-postgres."""
