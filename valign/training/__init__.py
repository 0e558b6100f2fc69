"""Training: conversations as token ids, the losses, and the Lightning modules."""
