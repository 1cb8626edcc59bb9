"""Workflows: compose everything below, own no physics."""
