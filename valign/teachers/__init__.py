"""Teachers: messages in, completions out, each paid for once."""
