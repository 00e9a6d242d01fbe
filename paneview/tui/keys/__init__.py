"""Keys: what is bound to what, the order in which they take effect, and their names in tmux."""
