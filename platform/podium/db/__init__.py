"""Tables, engine and migrations: what the slices' stores stand on."""
