"""Measuring models: gold scores with intervals, win rates, refusals, and the report."""

from chatwright.evaluate.gold import Answered, Grader, answer_prompts
from chatwright.evaluate.report import write_report
from chatwright.evaluate.statistics import Interval, bootstrap_mean, paired_wins, proportion, wilson
from chatwright.evaluate.summary import StageSummary, summarise, win_rate

__all__ = [
    "Answered",
    "Grader",
    "Interval",
    "StageSummary",
    "answer_prompts",
    "bootstrap_mean",
    "paired_wins",
    "proportion",
    "summarise",
    "wilson",
    "win_rate",
    "write_report",
]
