"""Where an acknowledged webhook waits, on disk, until it is landed."""
