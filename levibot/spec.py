"""What a worker process is told at its start: plain data, sent as JSON through its pipe."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from levibot.config import AlertsConfig, EngineConfig, LoggingConfig
from levibot.config_altdata import AltDataConfig
from levibot.config_base import Section
from levibot.config_execution import LiveConfig, PaperConfig
from levibot.config_market import ExchangeConfig, FeedConfig
from levibot.config_ml import InferenceConfig
from levibot.symbols import on_disk

WorkerKind = Literal["engine", "feed", "broker", "inference", "tft", "notifier", "altdata"]
POOL: tuple[WorkerKind, ...] = ("inference", "tft")  # the lanes of the pool, one for each kind of model


class Endpoints(Section):
    """ZeroMQ endpoints. The supervisor binds all but `feed`, `broker`, `inference` and `tft`."""

    publishers: str  # XSUB: the feed's PUB connects
    subscribers: str  # XPUB: SUB sockets connect
    feed: str  # ROUTER of the feed
    broker: str  # ROUTER of the broker
    risk: str  # ROUTER
    heartbeat: str  # PULL
    control: str  # ROUTER
    inference: tuple[str, ...] = ()  # ROUTER of each process of the LightGBM lane
    tft: tuple[str, ...] = ()  # the same of the lane of the model of sequences


class WorkerSpec(Section):
    """All that a worker needs; nothing else reaches it."""

    kind: WorkerKind
    worker: str  # its name: "engine-BTC-USDT", "feed", "broker"
    incarnation: int  # grows with each start
    supervisor_epoch: int
    instance: str  # identity of this state directory, four characters, part of every client order id
    endpoints: Endpoints
    state_dir: Path  # of this mode, exchange and account
    log_dir: Path
    heartbeat_interval: float
    logging: LoggingConfig
    symbols: tuple[str, ...]  # the one of an engine; all that feed and broker serve
    paused: bool = False
    lockstep: bool = False
    engine: EngineConfig | None = None
    context: str = ""  # engine, inference and tft: leading market, which engines look at too; empty: none
    config_dir: Path | None = None  # folder of supervisor.toml: strategies are imported from there too
    feed: FeedConfig | None = None  # feed, and altdata, whose funding a market of our own has not
    exchange: ExchangeConfig | None = None  # feed, and a live broker
    paper: PaperConfig | None = None
    live: LiveConfig | None = None  # broker; None: paper money
    # From the environment; broker: of the account, altdata: of providers.
    keys: dict[str, str] = Field(default_factory=dict, repr=False)
    deadman_grace: float = 0.0  # seconds that it outlives the supervisor
    leash: Path | None = None  # FIFO that the supervisor holds open; None: started by no supervisor
    inference: InferenceConfig | None = None  # engine, inference and tft
    models_dir: Path | None = None  # inference and tft
    model_name: str = ""  # inference and tft: of its lane
    exchange_id: str = ""
    alerts: AlertsConfig | None = None  # notifier
    api_socket: Path | None = None  # notifier: asks there whether all is well
    altdata: AltDataConfig | None = None  # altdata, and feed for the part that is its own
    altdata_dir: Path | None = None  # altdata: where values are recorded
    grant_key: str = ""  # hex, broker only: checks that a grant comes from this supervisor

    @property
    def index(self) -> int:
        """Which process of its lane a worker of the pool is."""
        return int(self.worker.rpartition("-")[2])

    @property
    def symbol(self) -> str:
        """The symbol of an engine."""
        return self.symbols[0]

    @property
    def fence(self) -> Path:
        """Lock file that at most one process of this name can hold."""
        return self.state_dir / "fences" / f"{self.worker}.lock"

    @property
    def ledger(self) -> Path:
        """Database of an engine."""
        return self.state_dir / "ledgers" / f"{on_disk(self.symbol)}.sqlite"


def engine_name(symbol: str) -> str:
    """Worker name of the engine of `symbol`."""
    return f"engine-{on_disk(symbol)}"


def inference_name(index: int) -> str:
    """Worker name of one process of the LightGBM lane."""
    return f"inference-{index}"


def tft_name(index: int) -> str:
    """Worker name of one process of the lane of the model of sequences."""
    return f"tft-{index}"
