"""The configuration: frozen, validated settings. `supervisor.toml` describes every key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from levibot.config_altdata import AltDataConfig
from levibot.config_base import Fraction, Seconds, Section, SettingsError
from levibot.config_execution import CONFIRMATION, LiveConfig, PaperConfig
from levibot.config_market import ExchangeConfig, FeedConfig
from levibot.config_ml import InferenceConfig, TrainingConfig
from levibot.config_risk import RiskConfig
from levibot.symbols import is_canonical, on_disk


def _check_symbol(symbol: str) -> str:
    if not is_canonical(symbol):
        raise ValueError(f"{symbol!r} is no symbol; write it as BASE/QUOTE, for example BTC/USDT")
    return symbol


def _check_distinct(symbols: tuple[str, ...]) -> tuple[str, ...]:
    for position, symbol in enumerate(symbols):
        if on_disk(symbol) in map(on_disk, symbols[:position]):
            raise ValueError(f"{symbol} is named twice; name each symbol once")
    return symbols


def _check_host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is no name or address of a host; write it without a port, scheme or wildcard")
    return host


# A name, an IPv4 address, or an IPv6 address, which may stand in brackets.
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[?[0-9A-Fa-f]*(:[0-9A-Fa-f.]*){2,}(%\w+)?\]?")
HostName = Annotated[str, AfterValidator(_check_host)]
SymbolName = Annotated[str, AfterValidator(_check_symbol)]
SymbolNames = Annotated[tuple[SymbolName, ...], Field(min_length=1), AfterValidator(_check_distinct)]
LogLevel = Literal["debug", "info", "warning", "error"]


class PolicyConfig(Section):
    """How one kind of worker is watched and restarted."""

    heartbeat_interval: Seconds = Field(1.0, description="Seconds between two heartbeats of a worker.")
    hang_after: Seconds = Field(15.0, description="Seconds without progress until a worker is killed.")
    start_timeout: Seconds = Field(30.0, description="Seconds from spawn to the first heartbeat.")
    stop_grace: Seconds = Field(10.0, description="Seconds a worker has to stop before SIGKILL.")
    max_memory_mb: Annotated[float, Field(gt=0)] = Field(
        256.0, description="Unique memory in MB above which a worker is recycled."
    )
    max_descriptors: Annotated[int, Field(gt=0)] = Field(
        256, description="Open file descriptors above which a worker is recycled."
    )
    error_spike: Annotated[int, Field(gt=0)] = Field(
        10, description="More errors than this within error_window restart the worker."
    )
    error_window: Seconds = Field(300.0, description="Seconds over which errors are counted.")
    restart_delays: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = Field(
        (0.0, 60.0, 120.0, 240.0, 480.0),
        description="Seconds after the last restart, by the number of restarts in the window; the last repeats.",
    )
    restart_budget: Annotated[int, Field(ge=0)] = Field(
        5, description="Automatic restarts in restart_window before the worker is exhausted; 0: no end."
    )
    restart_window: Seconds = Field(3600.0, description="Seconds over which restarts are counted.")
    restart_jitter: Fraction = Field(0.1, description="Random part added to a delay, as a fraction of it.")
    restart_alert: Annotated[int, Field(gt=0)] = Field(
        5,
        description="More restarts than this in the window alert; of feed, broker, inference also REDUCING.",
    )

    @model_validator(mode="after")
    def _a_heartbeat_is_in_time(self) -> Self:
        if self.hang_after < 2 * self.heartbeat_interval:
            raise ValueError("hang_after must be at least twice heartbeat_interval, or every worker is killed")
        return self


class InfrastructurePolicyConfig(PolicyConfig):
    """The same for what serves all symbols: restarted soon, and for ever."""

    max_memory_mb: Annotated[float, Field(gt=0)] = Field(
        1024.0, description="Unique memory in MB above which a worker is recycled."
    )
    max_descriptors: Annotated[int, Field(gt=0)] = Field(
        4096, description="Open file descriptors above which a worker is recycled."
    )
    restart_delays: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = Field(
        (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0),
        description="Seconds after the last restart, by the number of restarts in the window; the last repeats.",
    )
    restart_budget: Annotated[int, Field(ge=0)] = Field(
        0, description="Automatic restarts in restart_window before the worker is exhausted; 0: no end."
    )


class PoliciesConfig(Section):
    """One policy for each kind of worker."""

    engine: PolicyConfig = Field(default_factory=PolicyConfig)
    feed: InfrastructurePolicyConfig = Field(default_factory=InfrastructurePolicyConfig)
    broker: InfrastructurePolicyConfig = Field(default_factory=InfrastructurePolicyConfig)
    inference: InfrastructurePolicyConfig = Field(default_factory=InfrastructurePolicyConfig)
    notifier: InfrastructurePolicyConfig = Field(default_factory=InfrastructurePolicyConfig)
    altdata: InfrastructurePolicyConfig = Field(default_factory=InfrastructurePolicyConfig)


class SupervisorConfig(Section):
    """The daemon itself."""

    data_dir: Path = Field(Path("var"), description="Where all state lies.")
    run_dir: Path | None = Field(None, description="Where sockets lie; default: run below data_dir.")
    starts_in_flight: Annotated[int, Field(gt=0)] = Field(4, description="Workers starting at one time.")
    sample_interval: Seconds = Field(1.0, description="Seconds between two psutil samples of each worker.")
    unique_memory_interval: Seconds = Field(
        30.0, description="Seconds between two readings of unique memory, which are dearer."
    )
    ballast_mb: Annotated[int, Field(ge=0)] = Field(
        64, description="Room in MB that is kept, and given up when the disk is full, so that exits are journaled."
    )


class EngineConfig(Section):
    """Defaults of an engine; `[overrides."SYMBOL"]` changes any of them for one symbol."""

    strategy: str = Field("ensemble", description='Built-in name, or "package.module:Class".')
    strategy_options: dict[str, int | float | str | bool] = Field(
        default_factory=dict, description="Keyword arguments of the strategy."
    )
    cycle_interval: Seconds = Field(1.0, description="Seconds between two turns without market data.")
    stop_loss: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.02, description="Protective stop below (above) the entry, as a fraction."
    )
    take_profit: Annotated[float, Field(ge=0, lt=10)] = Field(
        0.04, description="Target beyond the entry, as a fraction; 0: none."
    )
    trailing_stop: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Distance of a stop that follows the price, as a fraction of the entry; 0: none."
    )
    market_max_age: Seconds = Field(30.0, description="No entry on market data older than this.")
    record_inputs: bool = Field(False, description="Write every input of the decision core to a recording.")


class ApiConfig(Section):
    """The HTTP interface, besides the unix socket that levibotctl uses."""

    host: HostName = Field(
        "127.0.0.1", description="Address of the TCP port; on any but the loopback reading needs a token too."
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8383, description="TCP port; 0: none.")
    allowed_hosts: tuple[HostName, ...] = Field(
        (), description="Further names by which the port may be addressed (Host header)."
    )
    read_token: bool = Field(False, description="Demand a token for reading as well, /metrics included.")


class AlertsConfig(Section):
    """What is told to people, and how."""

    targets_file: Path | None = Field(
        None, description="File, mode 0600, with one apprise URL a line: where alerts are sent."
    )
    hook: tuple[str, ...] = Field((), description="Command that gets each alert as JSON on its standard input.")
    heartbeat_file: Path | None = Field(
        None, description="File, mode 0600, with a URL that is requested while all is well."
    )
    heartbeat_interval: Seconds = Field(60.0, description="Seconds between two of these requests.")
    keep_days: Annotated[int, Field(gt=0)] = Field(30, description="Days that past alerts are kept.")
    disk_free_mb: Annotated[float, Field(ge=0)] = Field(
        1000.0, description="Free space in MB below data_dir under which an alert is raised."
    )
    clock_skew: Seconds = Field(
        2.0, description="Seconds between this clock and the exchange's above which an alert is raised."
    )

    @property
    def wants_notifier(self) -> bool:
        """Whether there is anything to be sent anywhere."""
        return bool(self.targets_file or self.hook or self.heartbeat_file)


class LoggingConfig(Section):
    """Log files."""

    level: LogLevel = Field("info", description="Least level that is written.")
    retention_days: Annotated[int, Field(gt=0)] = Field(30, description="Days that log files are kept.")


class RetentionConfig(Section):
    """How long files are kept that only grow. Orders, fills and ledgers are kept for ever."""

    recordings_days: Annotated[int, Field(gt=0)] = Field(14, description="Days that recordings are kept.")
    recordings_gb: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Size of all recordings in GB above which the oldest go."
    )
    journal_days: Annotated[int, Field(gt=0)] = Field(
        90, description="Days that stack dumps, damaged files, databases of older schemas are kept."
    )


class Config(Section):
    """The whole of `supervisor.toml`."""

    symbols: SymbolNames = Field(
        ("BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT", "XRP/USDT"), description="Symbols to trade."
    )
    mode: Literal["paper", "live"] = Field("paper", description="Paper money, or real money.")
    supervisor: SupervisorConfig = Field(default_factory=SupervisorConfig)
    exchange: ExchangeConfig = Field(default_factory=ExchangeConfig)
    feed: FeedConfig = Field(default_factory=FeedConfig)
    paper: PaperConfig = Field(default_factory=PaperConfig)
    live: LiveConfig = Field(default_factory=LiveConfig)
    risk: RiskConfig = Field(default_factory=RiskConfig)
    inference: InferenceConfig = Field(default_factory=InferenceConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    altdata: AltDataConfig = Field(default_factory=AltDataConfig)
    engine: EngineConfig = Field(default_factory=EngineConfig)
    overrides: dict[SymbolName, EngineConfig] = Field(
        default_factory=dict, description="Engine settings of single symbols."
    )
    policy: PoliciesConfig = Field(default_factory=PoliciesConfig)
    api: ApiConfig = Field(default_factory=ApiConfig)
    alerts: AlertsConfig = Field(default_factory=AlertsConfig)
    logging: LoggingConfig = Field(default_factory=LoggingConfig)
    retention: RetentionConfig = Field(default_factory=RetentionConfig)

    @model_validator(mode="after")
    def _real_money_is_meant(self) -> Self:
        if self.mode != "live":
            return self
        if self.feed.source != "ccxt":
            raise _unfit("feed.source", 'mode = "live" needs [feed] source = "ccxt": the prices of that exchange')
        if self.live.confirm != CONFIRMATION:
            raise _unfit("live.confirm", f'mode = "live" needs [live] confirm = "{CONFIRMATION}"')
        if self.live.credentials == "file" and self.live.credentials_file is None:
            text = '[live] credentials = "file" needs credentials_file = "FILE"'
            raise SettingsError(("live", "credentials_file"), ("live", "credentials"), text)
        swaps = [symbol for symbol in self.symbols if ":" in symbol]
        if swaps:
            raise _unfit("symbols", f"{', '.join(swaps)}: live trading is for spot markets; name BASE/QUOTE")
        quotes = sorted({symbol.partition("/")[2] for symbol in self.symbols})
        if len(quotes) > 1:
            raise _unfit("symbols", f"symbols in {' and '.join(quotes)}: one account is kept in one quote asset")
        return self

    def engine_of(self, symbol: str) -> EngineConfig:
        """Engine settings of `symbol`: the defaults with its overrides laid over them."""
        override = self.overrides.get(symbol)
        if override is None:
            return self.engine
        return self.engine.model_copy(update={key: getattr(override, key) for key in override.model_fields_set})

    def asks_model(self, symbol: str) -> bool:
        """Whether the engine of `symbol` has the built-in strategy that asks a model; others are not known."""
        return self.engine_of(symbol).strategy == "ensemble"

    @property
    def lacks_pool(self) -> bool:
        """Whether an engine asks a model, and there is no process to answer it."""
        return not self.inference.processes and any(map(self.asks_model, self.symbols))

    @property
    def state_dir(self) -> Path:
        """Folder of the state of this mode, exchange and account."""
        return self.supervisor.data_dir / f"{self.mode}-{self.exchange_id}-{self.exchange.account}"

    @property
    def exchange_id(self) -> str:
        """Name of the exchange; simulated, replayed and live markets never share state."""
        return self.exchange.id or ("mexc" if self.feed.source == "ccxt" else self.feed.source)

    @property
    def disclosure(self) -> str:
        """What kind of market and money this is, for people, who must never mistake it."""
        if self.mode == "live":
            return f"LIVE prices of {self.exchange_id}{' (sandbox)' if self.exchange.sandbox else ''}, REAL MONEY"
        if self.feed.source == "simulated":
            return "SIMULATED market (seeded, with a planted pattern), paper money"
        if self.feed.source == "ccxt":
            return f"LIVE prices of {self.exchange_id}{' (sandbox)' if self.exchange.sandbox else ''}, paper money"
        return f"REPLAY of recorded data from {self.feed.path}, paper money"

    @property
    def models_dir(self) -> Path:
        """Folder of the models."""
        return self.inference.models_dir or self.supervisor.data_dir / "models"

    @property
    def features_dir(self) -> Path:
        """Folder of the feature store, of all exchanges."""
        return self.supervisor.data_dir / "features"

    @property
    def altdata_dir(self) -> Path:
        """Folder of all alternative data that were fetched; of no exchange, so all share it."""
        return self.supervisor.data_dir / "altdata"

    def candles_dir(self, exchange: str) -> Path:
        """Folder of the candles that were downloaded from an exchange."""
        return self.supervisor.data_dir / "candles" / exchange

    @property
    def model_name(self) -> str:
        """Name of the model that engines are answered with; one market's model never serves another."""
        return self.inference.model or f"lightgbm-{self.exchange_id}"

    @property
    def tft_model_name(self) -> str:
        """Name of the model of sequences, one for each exchange."""
        return self.inference.tft_model or f"tft-{self.exchange_id}"

    @property
    def log_dir(self) -> Path:
        """Folder of the log files."""
        return self.supervisor.data_dir / "logs"


def _unfit(key: str, text: str) -> SettingsError:
    """`key` does not go with real money."""
    return SettingsError(tuple(key.split(".")), ("mode",), text)
