"""The names under which orders are refused or withdrawn: stable, for programs; the text behind is for people."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """First word of the reason of an `OrderDenied`, `OrderRejected` or `OrderCancelled`."""

    # The order itself.
    BAD_ORDER = "bad_order"  # makes no sense in any market
    PRECISION = "precision"  # a price or quantity that is nothing in the market's steps
    MIN_AMOUNT = "min_amount"
    MIN_COST = "min_cost"
    NOT_CLOSABLE = "not_closable"  # what it opens would be dust at its stop
    DUST = "dust"  # what is held is too small to be sold
    CROSSED = "crossed"  # its stop or target would fire at once
    POST_ONLY = "post_only"  # it would have been a taker
    NO_BASE = "no_base"  # the exchange holds less than the books: see `levibotctl settle`
    NOTHING_TO_REDUCE = "nothing_to_reduce"
    NO_SHORT = "no_short"

    # The account.
    NO_CASH = "no_cash"
    WRONG_QUOTE = "wrong_quote"  # the account is kept in another asset

    # The market.
    UNKNOWN_MARKET = "unknown_market"
    MARKET_INACTIVE = "market_inactive"
    MARKET_STALE = "market_stale"
    NO_PRICE = "no_price"
    STALE_PRICE = "stale_price"
    BOOK_EXHAUSTED = "book_exhausted"  # the rest found nobody to trade with

    NOT_READY = "not_ready"  # the account is being compared with the exchange
    FROZEN = "frozen"  # the books and the exchange do not agree
    NO_STOPS = "no_stops"  # the exchange keeps none, and the broker may not watch them

    # Leave to open risk.
    NO_GRANT = "no_grant"
    GRANT_FORGED = "grant_forged"
    GRANT_MISMATCH = "grant_mismatch"  # it is for another order than this
    GRANT_EXPIRED = "grant_expired"
    GRANT_USED = "grant_used"
    PAUSED = "paused"
    TRADING_STATE = "trading_state"  # REDUCING or HALTED
    LATE = "late"  # it would open risk on what was decided too long ago

    # Its fate.
    GIVEN_UP = "given_up"  # a reconciliation has told the engine that this id will never be carried out
    REQUESTED = "requested"  # cancelled by whoever sent it
    OCO = "oco"  # the other order of the group was filled
    REPLACED = "replaced"  # another order takes its place
    IOC = "ioc"  # what did not fill at once
    STOPPED = "stopped"  # the stop of an entry fired before all of the entry was filled
    NOT_SENT = "not_sent"  # it was journaled, and the broker died before it was posted
    NOT_TAKEN = "not_taken"  # the exchange is not to be asked now: its rate limit
    EXCHANGE = "exchange"  # its own words follow
    NEVER_ARRIVED = "never_arrived"  # its answer was lost, and the exchange definitely has no such order
    ADOPTED = "adopted"  # it was ours, no longer known, and could do harm
    BROKER_UNUSABLE = "broker_unusable"  # the database refuses

    def because(self, text: str) -> str:
        """The reason of an event: the name, a colon, and what people should know."""
        return f"{self}: {text}"
