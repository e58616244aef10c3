"""One file a figure; each takes the tables' cells and gives what it draws, or None where the sweep has nothing for it."""
