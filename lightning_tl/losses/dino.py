"""DINO's loss: the student must say of every crop what the centred, sharpened teacher says of another."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DinoLoss(nn.Module):
    """Self-distillation with centring and sharpening (Caron et al. 2021, arXiv 2104.14294, equations 1 to 4).

    The teacher's probabilities are softmax((t - centre) / teacher temperature), those of the student softmax(s /
    temperature). Centring keeps one output from winning everywhere, the low teacher temperature keeps all from being
    equal; without either, every image gets the same outputs. The caller moves the centre, by `follow`, after the loss.

    Args:
        outputs: how many outputs student and teacher have.
        temperature: of the student; above 0.
        centre_momentum: share of the centre that stays in a step, in [0, 1).

    Attributes:
        centre: [outputs], moving average of the teacher's outputs; in checkpoints.
    """

    centre: Tensor

    def __init__(self, outputs: int, temperature: float = 0.1, centre_momentum: float = 0.9) -> None:
        super().__init__()
        if outputs < 2:
            raise ValueError(f"outputs must be at least 2, got {outputs}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        if not 0 <= centre_momentum < 1:
            raise ValueError(f"centre_momentum must be in [0, 1), got {centre_momentum}")
        self.temperature, self.centre_momentum = temperature, centre_momentum
        self.register_buffer("centre", torch.zeros(outputs))

    def forward(self, student: Tensor, teacher: Tensor, teacher_temperature: float) -> Tensor:
        """Mean cross-entropy over all pairs of a teacher's view and another view of the student's, and the batch.

        Args:
            student: [views, batch, outputs], of all crops, the teacher's views first and in the teacher's order.
            teacher: [global views, batch, outputs], before centring.
            teacher_temperature: above 0.

        Raises:
            ValueError: the shapes do not belong together, or there is no pair of different views.
        """
        views, wide = len(student), len(teacher)
        if student.ndim != 3 or student.shape[1:] != teacher.shape[1:] or not 1 <= wide <= views or views < 2:
            raise ValueError(
                "student must be [views, batch, outputs] of at least 2 views and teacher [global views, batch, "
                f"outputs] of some of these, got {tuple(student.shape)} and {tuple(teacher.shape)}"
            )
        with torch.autocast(student.device.type, enabled=False):  # half precision rounds what the softmax sharpens
            targets = self.probabilities(teacher, teacher_temperature)
            together = targets.sum(0)
            # The cross-entropy is linear in its target: one for each view, against the sum of the other views' targets.
            losses = [
                F.cross_entropy(view.float() / self.temperature, together - targets[k] if k < wide else together)
                for k, view in enumerate(student)
            ]
            return torch.stack(losses).sum() / (wide * (views - 1))

    def probabilities(self, teacher: Tensor, teacher_temperature: float) -> Tensor:
        """The teacher's outputs [..., outputs], centred and sharpened, without a gradient."""
        return F.softmax((teacher.detach().float() - self.centre) / teacher_temperature, dim=-1)

    @torch.no_grad()
    def follow(self, mean: Tensor) -> None:
        """Move the centre towards the mean of a batch.

        Args:
            mean: [outputs], of the teacher's outputs over its views and the images of all processes.
        """
        self.centre.lerp_(mean.float(), 1 - self.centre_momentum)


def entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy, in nats, of distributions [..., outputs]: 0 where one output has all, log(outputs) at most."""
    found: Tensor = torch.special.entr(probabilities).sum(-1).mean()
    return found
