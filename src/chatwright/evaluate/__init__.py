"""Measuring models: gold scores with intervals, win rates, refusals, and the report."""

from chatwright.evaluate.gold import Answered, Grader, answer_prompts
from chatwright.evaluate.overoptimisation import Curve, best_of_n, best_of_n_curve, best_of_n_kl, fit_curve
from chatwright.evaluate.report import write_report
from chatwright.evaluate.statistics import Interval, bootstrap_mean, paired_wins, proportion, wilson
from chatwright.evaluate.summary import StageSummary, summarise, win_rate

__all__ = [
    "Answered",
    "Curve",
    "Grader",
    "Interval",
    "StageSummary",
    "answer_prompts",
    "best_of_n",
    "best_of_n_curve",
    "best_of_n_kl",
    "bootstrap_mean",
    "fit_curve",
    "paired_wins",
    "proportion",
    "summarise",
    "wilson",
    "win_rate",
    "write_report",
]
