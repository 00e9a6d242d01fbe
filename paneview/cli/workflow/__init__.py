"""The commands on workflows of agents."""
