"""What this machine, its cluster and its file system allow: each finding with its remedy."""
