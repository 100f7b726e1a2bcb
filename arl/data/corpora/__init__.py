"""Where speech comes from: files on disk, other tools' lists, and packages of the public registries."""
