"""Settings of the inference pool and of training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from levibot.config_base import Section

_ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]


class InferenceConfig(Section):
    """The shared pool of processes that answer engines with a model's probability."""

    processes: Annotated[int, Field(ge=0, le=64)] = Field(
        2, description="Processes of the LightGBM lane; 0: no pool. With two, one may die."
    )
    deadline: Annotated[float, Field(gt=0, le=10)] = Field(
        0.2, description="Seconds until an engine does without an answer; asked elsewhere at half of it."
    )
    batch: Annotated[int, Field(gt=0, le=4096)] = Field(
        64, description="Most requests that one process answers in one go."
    )
    models_dir: Path | None = Field(None, description="Folder of the models; default: models below data_dir.")
    model: _ModelName | None = Field(None, description="Name of the LightGBM model; default: lightgbm-EXCHANGE.")
    tft_processes: Annotated[int, Field(ge=0, le=64)] = Field(
        0, description="Processes of the lane of the Temporal Fusion Transformer; 0: none, it is left out."
    )
    tft_deadline: Annotated[float, Field(gt=0, le=10)] = Field(
        0.5, description="Seconds until an engine does without the answer of the Temporal Fusion Transformer."
    )
    tft_model: _ModelName | None = Field(None, description="Name of the TFT model; default: tft-EXCHANGE.")


class TrainingConfig(Section):
    """What a new model has to show before it takes the place of the one that serves."""

    promotion_margin: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Least gain in log loss over the serving model on the same rows; more than chance anyway."
    )
    calibration_error: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.03, description="Greatest mean distance of probabilities from what came true, less what chance explains."
    )
