"""The peers: each script runs in a virtual environment of its own and prints what it measured as JSON."""
