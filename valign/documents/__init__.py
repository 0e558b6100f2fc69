"""Documents: from a file to passages with stable clause ids."""
