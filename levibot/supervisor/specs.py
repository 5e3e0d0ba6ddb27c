"""From the configuration in force to what a worker process is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from levibot.config import Config, EngineConfig
from levibot.config_file import api_socket
from levibot.locations import KEY_VARIABLES, PROVIDER_KEY_VARIABLES
from levibot.spec import POOL, Endpoints, WorkerKind, WorkerSpec
from levibot.supervisor.worker import Worker


@dataclass
class SpecFactory:
    """Makes worker specs.

    Parameters
    ----------
    config
        The configuration in force; replaced by a reload.
    endpoints, instance, epoch, grant_key, leash
        Of this supervisor.
    served
        The symbols that feed and broker serve now.
    engine_configs
        Filled with the settings that each engine was last started with, by symbol.
    config_dir
        Folder of supervisor.toml, where strategies of the user's own are looked for.
    keys
        What the environment told of keys: the account's, and those of providers.
    """

    config: Config
    endpoints: Endpoints
    instance: str
    epoch: int
    grant_key: bytes
    leash: Path
    served: Callable[[], list[str]]
    engine_configs: dict[str, EngineConfig]
    config_dir: Path | None
    keys: Mapping[str, str] = field(repr=False)

    def make(self, worker: Worker) -> WorkerSpec:
        """Spec for the next process of `worker`."""
        config, kind = self.config, worker.kind
        is_live = kind == "broker" and config.mode == "live"
        wanted_keys = KEY_VARIABLES if is_live else PROVIDER_KEY_VARIABLES if kind == "altdata" else ()
        if worker.symbol is not None:
            self.engine_configs[worker.symbol] = config.engine_of(worker.symbol)
        return WorkerSpec(
            kind=kind,
            worker=worker.name,
            incarnation=worker.incarnation,
            supervisor_epoch=self.epoch,
            instance=self.instance,
            endpoints=self.endpoints,
            state_dir=config.state_dir,
            log_dir=config.log_dir,
            heartbeat_interval=worker.policy.heartbeat_interval,
            logging=config.logging,
            symbols=(worker.symbol,) if worker.symbol else tuple(self.served()),
            paused=worker.paused,
            leash=self.leash,
            lockstep=config.feed.lockstep,
            engine=self.engine_configs[worker.symbol] if worker.symbol else None,
            context=config.feed.context if kind == "engine" or kind in POOL else "",
            config_dir=self.config_dir,
            feed=config.feed if kind in ("feed", "altdata") else None,
            exchange=config.exchange if kind == "feed" or is_live else None,
            paper=config.paper if kind == "broker" else None,
            live=config.live if is_live else None,
            keys={name: self.keys[name] for name in wanted_keys if name in self.keys},
            deadman_grace=config.live.deadman_grace if is_live else 0.0,
            inference=config.inference if kind == "engine" or kind in POOL else None,
            models_dir=config.models_dir if kind in POOL else None,
            model_name=self._model_name(kind),
            exchange_id=config.exchange_id,
            alerts=config.alerts if kind == "notifier" else None,
            api_socket=api_socket(config) if kind == "notifier" else None,
            altdata=config.altdata if kind in ("altdata", "feed") else None,
            altdata_dir=config.altdata_dir if kind == "altdata" else None,
            grant_key=self.grant_key.hex() if kind == "broker" else "",
        )

    def _model_name(self, kind: WorkerKind) -> str:
        """Name of the model that a lane serves; empty of what serves none."""
        return {"inference": self.config.model_name, "tft": self.config.tft_model_name}.get(kind, "")
