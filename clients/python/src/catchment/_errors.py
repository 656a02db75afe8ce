"""The exceptions of this package, all subclasses of ``CatchmentError``. A refusal's text is the aggregator's."""

from __future__ import annotations


class CatchmentError(Exception):
    """Base of all exceptions of this package."""


class IdentityError(CatchmentError, ValueError):
    """The identity folder or the aggregator's address cannot be used."""


class BadRequest(CatchmentError, ValueError):
    """The request is wrong: an argument here, or a selector, an aggregate, a step, an expression at the aggregator."""


class PermissionDenied(CatchmentError):
    """One side refuses the other's certificate, or the identity's role is not ``operator``."""


class LimitExceeded(CatchmentError):
    """The answer would exceed a bound, or too many queries run at once; the text names the bound."""


class Unavailable(CatchmentError, ConnectionError):
    """The aggregator cannot be reached, or the connection broke. The same request may succeed later."""


class DeadlineExceeded(CatchmentError, TimeoutError):
    """No complete answer within ``timeout``, or within the aggregator's own limit of time."""


class Unsupported(CatchmentError):
    """The aggregator is of an earlier version, without Arrow Flight or the Prometheus API."""


class AggregatorError(CatchmentError):
    """The aggregator failed while it answered."""


class ProtocolError(CatchmentError):
    """The answer is not what an aggregator sends."""
