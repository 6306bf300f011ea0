"""The `podium` command. Its modules import at the top only what `podium --help` needs."""
