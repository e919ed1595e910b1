"""Deliver what programs send: messages, spawns, assignments."""
