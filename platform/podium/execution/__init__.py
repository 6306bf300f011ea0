"""The durable executor: runs, step runs and attempts as rows, executed in warm child processes."""
