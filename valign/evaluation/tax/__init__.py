"""What alignment costs: likelihood of general text, everyday instructions, and drift from the base model."""
