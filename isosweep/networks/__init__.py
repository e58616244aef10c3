"""Networks: random draws, initialisations, activations, and `realize`, which makes a run's network."""
