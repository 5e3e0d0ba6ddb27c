"""First function of every worker process."""

from __future__ import annotations

import importlib

from levibot.spec import WorkerSpec
from workers.runtime import Runtime


def run(payload: str) -> None:
    """Run the worker that `payload` describes, to its end.

    Parameters
    ----------
    payload
        A `WorkerSpec` as JSON.
    """
    spec = WorkerSpec.model_validate_json(payload)
    runtime = Runtime(spec)
    try:
        importlib.import_module(f"workers.{spec.kind}").main(runtime)
    except BaseException as error:
        runtime.report_crash(error)
        raise
    else:
        runtime.log.info("worker_stopped", worker=spec.worker)
    finally:
        runtime.close()
