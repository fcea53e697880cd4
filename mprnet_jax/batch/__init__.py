"""Many files, folders and machines, each file restored by itself."""
