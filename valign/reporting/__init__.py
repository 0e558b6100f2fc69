"""The comparison page: what each arm scored, how sure we are, and every answer side by side."""
