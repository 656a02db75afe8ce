"""Asks a Catchment aggregator for aggregates and hands them to pandas, polars and pyarrow.

>>> import catchment
>>> client = catchment.connect("https://localhost:7700", identity="pki/operator/ada")
>>> table = client.query("temperature", last="30d", step="1h", by=["device"], agg=["mean", "p99"])
>>> table.to_pandas()

``Client.query`` asks over Arrow Flight, ``Client.promql`` over the Prometheus API; both on the aggregator's one port,
over mutual TLS, with the identity folder of an operator. See this package's README and Catchment's ``docs/queries.md``
for what aggregates, steps and completeness mean.

Needs ``pyarrow`` (the extra ``[arrow]``). To send readings, see ``catchment_device``, which needs nothing.
"""

try:
    import pyarrow.flight as _pyarrow_flight  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"catchment needs pyarrow with Arrow Flight: run `pip install pyarrow`, or install this package with its "
        f"extra [arrow] ({error})"
    ) from error

from ._client import Client, connect
from ._errors import (
    AggregatorError,
    BadRequest,
    CatchmentError,
    DeadlineExceeded,
    IdentityError,
    LimitExceeded,
    PermissionDenied,
    ProtocolError,
    Unavailable,
    Unsupported,
)
from ._header import Gap, GatewayProgress
from ._table import Table

__all__ = [
    "AggregatorError",
    "BadRequest",
    "CatchmentError",
    "Client",
    "DeadlineExceeded",
    "Gap",
    "GatewayProgress",
    "IdentityError",
    "LimitExceeded",
    "PermissionDenied",
    "ProtocolError",
    "Table",
    "Unavailable",
    "Unsupported",
    "connect",
]

__version__ = "0.1.0"
