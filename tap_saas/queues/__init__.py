"""The durable log that webhooks are kept in until the tables have them."""
