"""What happened in a run, as a tree, and as a terminal may show it. The tree is pure: events in, pieces of work out."""

from oarlock.views.reading import Problem
from oarlock.views.run_tree import RunTree
from oarlock.views.tree_parts import Kind, Note, Piece, State, Totals, Wait, Waits

__all__ = ["Kind", "Note", "Piece", "Problem", "RunTree", "State", "Totals", "Wait", "Waits"]
