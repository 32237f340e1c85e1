"""What does the work: the scheduler (the central task), the runner, and the two lanes."""
