"""Views of a plan, a run and a drill: terminal and JSON."""
