"""The commands on jobs, workers and the queue itself."""
