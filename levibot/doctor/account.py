"""Is the key of a live account there, does the exchange take it, and may it do what it must, and no more?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from levibot.doctor.finding import Finding, Patient
from levibot.errors import BackOffError, LeviBotError, RetryError, StopError

if TYPE_CHECKING:
    from levibot.exchange.session import ExchangeSession


async def judge_account(patient: Patient, session: ExchangeSession) -> AsyncIterator[Finding]:
    """Ask with the key what it may do, as the broker does before it trades; nothing is ordered.

    Parameters
    ----------
    patient
        Nothing is found on paper.
    session
        Open; its exchange is asked.
    """
    from levibot.exchange.credentials import read_credentials
    from levibot.exchange.failures import redact
    from levibot.exchange.private import PrivateTrading

    config = patient.config.live
    if patient.config.mode != "live":
        return
    try:
        credentials = read_credentials(config, patient.environ)
    except StopError as error:
        if config.credentials == "file":
            yield Finding("account", "fail", str(error), "mend what it names, as the user who runs the daemon")
        else:  # the daemon may well have what this shell has not
            remedy = "give it to `levibotctl doctor` too, or see `levibotctl status broker` of the running daemon"
            yield Finding("account", "warn", f"the key is not tried: {error}", remedy)
        return
    trading = PrivateTrading(session, credentials)
    try:
        await trading.open()
        advice = await trading.examine_key()
    except (RetryError, BackOffError) as error:
        yield Finding("account", "warn", f"{credentials!r} could not be tried: {error}", "ask again in a while")
    except LeviBotError as error:
        yield Finding("account", "fail", str(error), "mend what it names at the exchange, or in the key")
    except Exception as error:
        redact(error, credentials.secrets)
        raise
    else:
        yield Finding("account", "ok", f"{session.id} accepts {credentials!r}")
        for text in advice:
            yield Finding("rights of the key", "warn", text, "see to it at the exchange, where keys are made")
    finally:
        await trading.close()
