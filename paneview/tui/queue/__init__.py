"""The queue on the screen: tables of targets, workers and jobs, and what may be done to a job."""
