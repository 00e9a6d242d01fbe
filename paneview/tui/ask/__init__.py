"""The ask prompt: its text, its syntax, and what was asked before."""
