"""What is learned of a sample: one label, several labels, values, or a label of each pixel."""

from lightning_tl.tasks.one_label import OneLabel
from lightning_tl.tasks.pixel_labels import PixelLabels
from lightning_tl.tasks.several_labels import SeveralLabels
from lightning_tl.tasks.task import Task, task_of
from lightning_tl.tasks.values import Values

__all__ = ["OneLabel", "PixelLabels", "SeveralLabels", "Task", "Values", "task_of"]
