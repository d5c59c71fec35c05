"""The embedded small world: a corpus, demonstrations, prompts with a gold grader, and simulated raters.

Generated from tables and grammar, deterministic by seed. Every row says `source="simulated"`; nothing that real data
needs lives here.
"""

from chatwright.starter.corpus import Corpus, corpus
from chatwright.starter.critiques import constitution_text, corrections, helpful_only, judgements
from chatwright.starter.grading import Grade, gradable, grade
from chatwright.starter.grading.text import refused
from chatwright.starter.raters import Ceiling, Rater, rater_ceiling, raters
from chatwright.starter.sets import SAMPLE_PROMPTS, STARTERS, demonstrations, prompts, skill_prompts
from chatwright.starter.skills import SKILLS
from chatwright.starter.worked import balanced, worked_sums

__all__ = [
    "SAMPLE_PROMPTS",
    "SKILLS",
    "STARTERS",
    "Ceiling",
    "Corpus",
    "Grade",
    "Rater",
    "balanced",
    "constitution_text",
    "corpus",
    "corrections",
    "demonstrations",
    "gradable",
    "grade",
    "helpful_only",
    "judgements",
    "prompts",
    "rater_ceiling",
    "raters",
    "refused",
    "skill_prompts",
    "worked_sums",
]
