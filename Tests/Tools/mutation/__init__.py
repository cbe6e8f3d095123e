"""Damages graph files in structured ways and runs them; mutate_graphs.py is the command."""
