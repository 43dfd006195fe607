"""Oarlock's LLMs inside other frameworks: each adapter is a module of its own, imported when it is asked for."""
