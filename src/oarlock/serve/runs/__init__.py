"""Crews over HTTP: runs, their events, the questions that they have for a human."""
