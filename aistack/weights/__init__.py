"""Model files: which are on the disk, where the hubs keep them, downloads that resume."""
