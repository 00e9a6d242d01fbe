"""The life of a run, from launching or adopting it to the end of its last process."""
