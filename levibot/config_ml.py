"""Settings of the inference pool and of training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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
    """What `levibotctl train` makes, where its options do not say otherwise, and what a model needs to serve."""

    per_symbol: bool = Field(False, description="Grow trees for each symbol alone, not for all together.")
    label: Literal["triple_barrier", "fixed_horizon"] = Field(
        "triple_barrier",
        description="Event that is predicted: which barrier comes first, or the sign of the return.",
    )
    unit: Literal["fraction", "sigma"] = Field(
        "fraction",
        description="Of the distances: a fraction of the price, or the volatility of the bar over the horizon.",
    )
    horizon: Annotated[int, Field(gt=0, le=10_000)] | None = Field(
        None, description="Bars within which it must happen; default: 240, of the simulated market 20."
    )
    take_profit: Annotated[float, Field(gt=0, lt=10)] | None = Field(
        None, description="Distance of the upper barrier in that unit; default: from volatility and costs."
    )
    stop_loss: Annotated[float, Field(gt=0, lt=10)] | None = Field(
        None, description="Distance of the lower barrier in that unit; default: from volatility and costs."
    )
    embargo: Annotated[int, Field(ge=0, le=100_000)] = Field(
        61, description="Bars left out at the beginning of each span but the first: as far as features look back."
    )
    tune: Annotated[int, Field(ge=0, le=100_000)] = Field(
        0, description="Trials of a search for better settings; 0: none. Needs the extra train."
    )
    time_limit: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Seconds after which no further trial begins; default: no limit."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(1, description="The same seed gives the same model.")
    threads: Annotated[int, Field(gt=0, le=256)] = Field(1, description="CPU cores to use.")
    expires_days: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Days after the newest bar until a model opens nothing; 0: never; default: 30, simulated 0.",
    )
    promotion_margin: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Least gain in log loss over the serving model on the same rows; more than chance anyway."
    )
    calibration_error: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.03, description="Greatest mean distance of probabilities from what came true, less what chance explains."
    )
