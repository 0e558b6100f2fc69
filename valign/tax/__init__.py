"""XXX document me."""
