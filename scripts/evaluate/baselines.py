"""What a model has to beat: the base rate, and a logistic regression on the same features."""

from __future__ import annotations

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from levibot.ml.history import Floats
from levibot.ml.rows import Rows


def base_rate(train: Rows, judged: Rows) -> Floats:
    """The share of rises in the training span, for every row."""
    return np.full(len(judged.labels), float(np.nanmean(train.labels)))


def logistic_regression(train: Rows, judged: Rows) -> Floats:
    """Fitted on the training span; features scaled there, missing ones at their mean."""
    known = train.labelled()
    pipeline = make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)
    )
    pipeline.fit(known.features, known.labels)
    probabilities: Floats = pipeline.predict_proba(judged.features)[:, 1]
    return probabilities
