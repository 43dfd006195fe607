"""Crews of AI agents on any language model you can reach, with your way of signing in."""
