"""The state file: epoch and unacknowledged messages, in SQLite, so that they survive the end of the process.

Invariant: a message is in the file before it is sent, with a number that no other message has. After a power cut, the
file has an earlier state and lacks numbers assigned since. Therefore messages are *tentative* until the first welcome
of their process tells which numbers are in use; ``confirm`` makes them final and is synced before the first of them is
sent.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ._errors import StateError, StateLocked

_APPLICATION_ID = 0x43446576  # "CDev"
_SCHEMA = (
    f"PRAGMA application_id={_APPLICATION_ID}",
    "CREATE TABLE IF NOT EXISTS epoch (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS message (seq INTEGER PRIMARY KEY, final INTEGER NOT NULL, body BLOB NOT NULL)",
)


class Stored(NamedTuple):
    """A message in the file; ``final``: its number may have been sent."""

    seq: int
    final: bool
    body: bytes


class StateFile:
    """An open, locked state file. Not thread-safe: the buffer's lock protects it."""

    def __init__(self, path: str | os.PathLike[str], *, always_sync: bool) -> None:
        self._path = os.fspath(path)
        self._synchronous = "FULL" if always_sync else "NORMAL"
        try:
            self._db = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StateError(f"cannot open the state file {self._path}: {error}") from error
        try:
            self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        with self._told("open"):
            # The lock is held until this connection is closed or its process ends.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("BEGIN EXCLUSIVE")
            owner = self._db.execute("PRAGMA application_id").fetchone()[0]
            tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            self._db.execute("COMMIT")
        if tables and owner != _APPLICATION_ID:
            raise StateError(f"{self._path} is another program's database: choose another state file")
        with self._told("open"):
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={self._synchronous}")
            with self._transaction():
                for statement in _SCHEMA:
                    self._db.execute(statement)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Convert SQLite errors into this package's errors."""
        try:
            yield
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise StateLocked(f"the state file {self._path} is in use: each device needs its own file") from error
            raise StateError(f"cannot {what} the state file {self._path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def epoch(self) -> str | None:
        """Return the epoch, if the file has one."""
        with self._told("read"):
            row = self._db.execute("SELECT name FROM epoch").fetchone()
        return None if row is None else str(row[0])

    def set_epoch(self, epoch: str) -> None:
        """Set a new epoch; the file must have no messages."""
        with self._told("write"):
            self._db.execute("INSERT OR REPLACE INTO epoch VALUES (1, ?)", (epoch,))

    def messages(self) -> list[Stored]:
        """Return all messages, in order."""
        with self._told("read"):
            rows = self._db.execute("SELECT seq, final, body FROM message ORDER BY seq").fetchall()
        return [Stored(seq, bool(final), bytes(body)) for seq, final, body in rows]

    def append(self, message: Stored) -> None:
        """Write a message; replace one with the same number whose write was interrupted."""
        with self._told("write"):
            self._db.execute("INSERT OR REPLACE INTO message VALUES (?, ?, ?)", message)

    def confirm(self, first: int, shift: int) -> None:
        """Make the numbers of all messages from ``first`` up final, each raised by ``shift``, and sync."""
        with self._told("write"):
            self._db.execute("PRAGMA synchronous=FULL")
            try:
                with self._transaction():
                    if shift:
                        # Via negative numbers, because a raised number may equal another message's old one.
                        self._db.execute("UPDATE message SET seq = -(seq + ?) WHERE seq >= ?", (shift, first))
                        self._db.execute("UPDATE message SET seq = -seq WHERE seq < 0")
                    self._db.execute("UPDATE message SET final = 1 WHERE final = 0")
            finally:
                self._db.execute(f"PRAGMA synchronous={self._synchronous}")

    def forget(self, ack: int) -> None:
        """Remove messages up to a number. If a power cut undoes that, they are only resent."""
        with self._told("write"):
            self._db.execute("DELETE FROM message WHERE seq <= ?", (ack,))

    def close(self) -> None:
        """Close the file."""
        self._db.close()
