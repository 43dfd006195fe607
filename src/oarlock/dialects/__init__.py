"""Wire formats: requests to bytes, bytes to replies. Pure functions, no I/O."""
