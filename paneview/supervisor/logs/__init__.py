"""The logs of runs: stored while they run, and read and merged for clients."""
