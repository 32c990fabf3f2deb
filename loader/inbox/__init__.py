"""The inbox on disk, in which an acknowledged webhook waits until it is landed."""
