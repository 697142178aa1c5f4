"""The picture of a sweep: how the best value came, and which fields mattered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from lightning_tl.choosing.sweep.monitored import monitored_of
from lightning_tl.reports.pictures.picture_style import BLUE, GREY, ORANGE, picture

_FEW = 8  # trials below which importance would be chance


def importances(study: optuna.Study) -> dict[str, float]:
    """How much each field mattered, adding to 1 (PED-ANOVA: Watanabe et al., 2023); empty for few trials or one field.

    Args:
        study: with its trials.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < _FEW or len(done[0].params) < 2:
        return {}
    return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))


def draw_sweep(study: optuna.Study, path: Path) -> None:
    """The monitored validation metric by trial, and beside it the fields' importance where there are trials enough.

    Args:
        study: with its trials.
        path: of the PNG file.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    mattered = importances(study)
    name, sign = monitored_of(done[0])
    values = [float(trial.value) for trial in done if trial.value is not None]
    with picture(path, 8.0 if mattered else 5.0, 3.2) as figure:
        axes = figure.add_subplot(1, 2 if mattered else 1, 1)
        axes.scatter(
            [trial.number for trial in done], [sign * value for value in values], s=18, color=GREY, label="trial"
        )
        best = sign * np.minimum.accumulate(values)
        axes.step([trial.number for trial in done], best, where="post", color=BLUE, label="best so far")
        axes.set_xlabel("trial")
        axes.set_ylabel(name)
        axes.legend(fontsize=8)
        if mattered:
            bars = figure.add_subplot(1, 2, 2)
            bars.barh(list(mattered), list(mattered.values()), color=ORANGE)
            bars.invert_yaxis()
            bars.set_xlabel("importance")
