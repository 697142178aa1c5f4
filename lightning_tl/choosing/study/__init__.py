"""A study: arms, numbers of labels and draws that are written down first, and the runs that answer them.

Runs are ordinary run folders beneath the study's; what is known of a finished one is kept beside it, so that the same
command goes on where it was stopped. It never reads test data before every rate is chosen.
"""

from lightning_tl.choosing.study.arm import Arm
from lightning_tl.choosing.study.arm_of import arm_of, baselines_of
from lightning_tl.choosing.study.budget import Budget
from lightning_tl.choosing.study.compare import compare
from lightning_tl.choosing.study.named_arms import arms, log_arms
from lightning_tl.choosing.study.plan import StudyPlan

__all__ = ["Arm", "Budget", "StudyPlan", "arm_of", "arms", "baselines_of", "compare", "log_arms"]
