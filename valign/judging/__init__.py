"""Which of two answers is better: judges, win rates, and a ranking of the arms."""

from valign.judging.judgement import Judgement, by_reference
from valign.judging.rates import WinRate, win_rate
from valign.judging.tournament import Tournament, tournament

__all__ = ["Judgement", "Tournament", "WinRate", "by_reference", "tournament", "win_rate"]
