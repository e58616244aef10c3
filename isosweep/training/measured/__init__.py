"""What is measured of the loss along training, one quantity a file."""
