"""One file a figure; each takes the sweep's cells and gives its figure, or None where the sweep has nothing for it."""
