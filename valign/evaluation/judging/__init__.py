"""Which of two answers is better: judges, win rates, and a ranking of the arms."""
