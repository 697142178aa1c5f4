"""What a run of a study is scored by, sample by sample: one measure for each kind of task.

A measure reads a run folder's test predictions. It knows nothing of arms, draws and reports.
"""

from lightning_tl.choosing.study.measures.absolute_error import AbsoluteError
from lightning_tl.choosing.study.measures.image_iou import ImageIoU
from lightning_tl.choosing.study.measures.measure import Measure
from lightning_tl.choosing.study.measures.measure_of import measure_facts, measure_of
from lightning_tl.choosing.study.measures.right_share import RightShare
from lightning_tl.choosing.study.measures.user_gain import UserGain

__all__ = ["AbsoluteError", "ImageIoU", "Measure", "RightShare", "UserGain", "measure_facts", "measure_of"]
