"""Models: weights to load, adapt, merge and save, and what training and generation both compute."""
