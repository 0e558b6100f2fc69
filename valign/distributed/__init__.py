"""Distributed: the processes of one run, where each stands, and the signals that end them."""
