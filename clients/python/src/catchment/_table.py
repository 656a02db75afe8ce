"""The answer to a query."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ._header import Gap, GatewayProgress, Header

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class Table:
    """The points of an answer, one row each, and how complete they are.

    Rows come series by series, in order of time. Columns of ``Client.query``:

    * ``time``: start of the point; timestamp in milliseconds, in the time zone of ``tz``, otherwise UTC;
    * ``selector``: index of the selector, uint32; only with several selectors;
    * a column for each label of ``by``, texts as a dictionary (a category in pandas), null where a series lacks it;
      with ``without`` one column ``labels`` that holds a map. A label that is named like another column gets the prefix
      ``label_``;
    * a column for each aggregate: float64 in the unit of the readings, null where it is undefined. ``last_state`` is a
      text, ``state_times`` and ``state_shares`` are maps from states to numbers.

    Columns of ``Client.promql``: ``time`` (UTC), a column for each label, and ``value``, float64, or ``histogram``.

    Other libraries read a table through Arrow's C stream interface: ``polars.DataFrame(table)``, DuckDB and so on.
    """

    def __init__(
        self,
        arrow: pyarrow.Table,
        header: Header | None = None,
        warnings: tuple[str, ...] = (),
        infos: tuple[str, ...] = (),
    ) -> None:
        """Made by ``Client``."""
        self._arrow = arrow
        self._header = header or Header()
        self._warnings = warnings
        self._infos = infos

    @property
    def complete_until(self) -> datetime | None:
        """Time (UTC) up to which every gateway that counts has delivered; later points may still change.

        ``None`` if that is not known, if nothing is selected, and for ``promql``, which says it in ``warnings``.
        """
        return self._header.complete_until

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Times within the range at which windows of selected series are known to be lost or damaged."""
        return self._header.gaps

    @property
    def gateways(self) -> tuple[GatewayProgress, ...]:
        """The gateways that count in ``complete_until``: at most 1,000, those furthest behind."""
        return self._header.gateways

    @property
    def gateways_expected(self) -> int:
        """Number of the gateways that count, also of those not listed."""
        return self._header.expected

    @property
    def gateways_behind(self) -> int:
        """Number of those that have not delivered everything up to the end of the range, or up to now."""
        return self._header.behind

    @property
    def late_corrections(self) -> int:
        """Number of windows in the range that were corrected after they had been delivered as complete."""
        return self._header.late_corrections

    @property
    def refused_readings(self) -> int:
        """Number of readings that the gateways refused in the range."""
        return self._header.refused_readings

    @property
    def warnings(self) -> tuple[str, ...]:
        """What ``promql`` warns of, such as figures that are incomplete."""
        return self._warnings

    @property
    def infos(self) -> tuple[str, ...]:
        """What ``promql`` remarks, such as times that were aligned to windows."""
        return self._infos

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self._arrow.column_names)

    def to_arrow(self) -> pyarrow.Table:
        """The table as it came; without a copy."""
        return self._arrow

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame: labels are categories, undefined aggregates NaN, maps dictionaries."""
        try:
            import pandas  # noqa: F401
        except ImportError as error:
            raise ImportError(f"to_pandas needs pandas: run `pip install pandas` ({error})") from error
        return self._arrow.to_pandas(split_blocks=True, maps_as_pydicts="lossy")

    def to_polars(self) -> polars.DataFrame:
        """A data frame: labels are categories, undefined aggregates null."""
        try:
            import polars
        except ImportError as error:
            raise ImportError(f"to_polars needs polars: run `pip install polars` ({error})") from error
        frame = polars.from_arrow(self._arrow)
        assert isinstance(frame, polars.DataFrame)
        return frame

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Arrow's C stream interface."""
        return self._arrow.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        """Number of points."""
        return int(self._arrow.num_rows)

    def __repr__(self) -> str:
        said = [f"{len(self):,} points, columns {', '.join(self.columns)}"]
        if self.complete_until is not None:
            said.append(f"complete until {self.complete_until.isoformat()}")
        if self.gateways_behind:
            said.append(f"{self.gateways_behind} of {self.gateways_expected} gateways behind")
        said += [f"{len(found)} {name}" for name, found in (("gaps", self.gaps), ("warnings", self.warnings)) if found]
        return f"<catchment.Table: {'; '.join(said)}>"
