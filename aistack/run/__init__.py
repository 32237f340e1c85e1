"""Who does the work: the scheduler, the runner and its lanes, and the inventory."""
