"""The receiver: verify, store, answer."""
