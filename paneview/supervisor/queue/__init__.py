"""The supervisor's part in the queue of jobs and in workflows; loaded for projects with a queue, all but `parts`."""
