"""The command line: one file per command with its flags, its help and one call into the library."""
