"""Changes of the project while it runs: to its file, and to numbers of replicas."""
