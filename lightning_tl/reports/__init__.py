"""What a run leaves behind for people: predictions, summary, pictures, Weights & Biases."""

from lightning_tl.reports.csv_metrics import CsvMetrics
from lightning_tl.reports.wandb_report import WandbReport, finish_wandb, wandb_logger

__all__ = ["CsvMetrics", "WandbReport", "finish_wandb", "wandb_logger"]
