"""The faults that come with Oarlock, a module for each group; importing a module makes its faults known."""
