"""Training inputs and labels: real images and synthetic ones, located, checked, drawn by the seed and scaled."""
