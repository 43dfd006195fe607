"""A module beside the scripts."""

CITY = "Oslo"
