"""Writes rows into the online store, never older over newer, also with several writers at once.

Feast compares event times in the client between two round trips, so two writers can overwrite each other. Here a chunk
of keys is watched, compared, and written in one transaction, which Redis refuses if any of them changed meanwhile; the
chunk is then compared again. Rows are ordered by (event time, created time): of two rows for one key the later one
stays, whatever order they arrive in. (A script inside Redis does the same in one round trip, but takes the server three
times as long a row.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import hiredis
import pyarrow as pa

from core.errors import StoreUnavailable
from stores.codec import decode_timestamp, encode_timestamp, encode_timestamps, field_name, timestamp_field

if TYPE_CHECKING:
    from stores.wire import Wire

# Keys watched and written at once. The server is busy for about a millisecond; watching more costs more than linear.
_CHUNK = 250
_ATTEMPTS = 50
_pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command  # hiredis declares tuples of one element
_MULTI, _EXEC = _pack(("MULTI",)), _pack(("EXEC",))


def created_field(view: str) -> bytes:
    """Return the hash field with the created time of ``view``'s row, kept where it differs from the event time.

    Only late and corrected rows have one. Feast does not know the field and is not bothered by it.
    """
    return f"_created:{view}".encode()


class _Chunk(NamedTuple):
    """Rows that are written at once: their keys, times, and the commands that write them."""

    keys: Sequence[bytes]
    stamps: Sequence[int]
    created: Sequence[int]
    commands: Sequence[bytes]


class _Transaction(NamedTuple):
    """How many rows it writes, its commands, and how many replies they have."""

    rows: int
    payload: bytes
    reply_count: int


def _bulk(text: bytes) -> bytes:
    """Return an argument as it goes over the wire, ready to be part of a ``%`` template."""
    return b"$%d\r\n%b\r\n" % (len(text), text.replace(b"%", b"%%"))


class Upsert:
    """Writes rows of one feature view.

    Parameters
    ----------
    wire : Wire
        Connection to write over.
    view : str
        The view's name in the online store.
    features : sequence of str
        The features that every row carries, in order.
    expiry : int, optional
        Seconds after which a key is forgotten (``key_ttl_seconds``), set anew on every write.
    force : bool
        Overwrite whatever is stored: for views whose history has changed.
    """

    def __init__(
        self, wire: Wire, view: str, features: Sequence[str], *, expiry: int | None = None, force: bool = False
    ) -> None:
        self._wire, self._expiry, self._force = wire, expiry, force
        self._created = created_field(view)
        stamp, value = _bulk(timestamp_field(view)), b"$%d\r\n%b\r\n"
        fields = [stamp, *(_bulk(field_name(view, feature)) for feature in features)]
        self._hset = b"*%d\r\n$4\r\nHSET\r\n" % (2 + 2 * len(fields)) + value + value.join([*fields, b""])
        self._hmget = b"*4\r\n$5\r\nHMGET\r\n" + value + stamp + _bulk(self._created)

    def write(
        self,
        keys: Sequence[bytes],
        stamps: Sequence[int],
        created: Sequence[int],
        columns: Sequence[Sequence[bytes]],
    ) -> int:
        """Write n rows and return how many were not older than what is stored.

        Parameters
        ----------
        keys : sequence of bytes, length n
            Redis keys.
        stamps, created : sequence of int, length n
            Event and created times in microseconds since 1970 UTC.
        columns : sequence of sequence of bytes, each of length n
            Serialized values, one sequence a feature.

        Raises
        ------
        StoreUnavailable
            When Redis does not answer. Rows of earlier chunks stay; writing again is safe.
        """
        encoded = encode_timestamps(pa.array(stamps, pa.int64()))
        arguments = [part for column in (keys, encoded, *columns) for part in (map(len, column), column)]
        commands = list(map(self._hset.__mod__, zip(*arguments, strict=True)))
        parts = [slice(start, start + _CHUNK) for start in range(0, len(keys), _CHUNK)]
        chunks = [_Chunk(keys[part], stamps[part], created[part], commands[part]) for part in parts]
        written = 0
        for _ in range(_ATTEMPTS):
            done, chunks = self._write_chunks(chunks)
            written += done
            if not chunks:
                return written
        raise StoreUnavailable(
            f"Other writers changed the same keys {_ATTEMPTS} times in a row.",
            hint="Run one materialization at a time.",
        )

    def _write_chunks(self, chunks: Sequence[_Chunk]) -> tuple[int, list[_Chunk]]:
        """Return how many rows were written, and the chunks that someone else changed meanwhile.

        The transaction of one chunk and the reads of the next travel together.
        """
        written, refused = 0, []
        due = _Transaction(0, b"", 0)
        for chunk, following in zip([None, *chunks], [*chunks, None], strict=True):
            reads, read_count = self._reads(following)
            payload, reply_count = due.payload + reads, due.reply_count + read_count
            replies = self._wire.exchange(payload, reply_count, again=False) if payload else []
            if chunk is not None and due.reply_count:
                if replies[due.reply_count - 1] is None:
                    refused.append(chunk)
                else:
                    written += due.rows
            if following is not None:
                due = self._transaction(following, replies[due.reply_count :])
        return written, refused

    def _reads(self, chunk: _Chunk | None) -> tuple[bytes, int]:
        """Return commands that watch the keys and read the times stored there, and how many replies they have."""
        if chunk is None or self._force:
            return b"", 0
        reads = map(self._hmget.__mod__, zip(map(len, chunk.keys), chunk.keys, strict=True))
        return b"".join((_pack((b"WATCH", *chunk.keys)), *reads)), len(chunk.keys) + 1

    def _transaction(self, chunk: _Chunk, replies: Sequence[Any]) -> _Transaction:
        stored = {}
        for key, (stamp, late) in zip(chunk.keys, replies[1:], strict=False):  # no replies when writing by force
            if stamp is not None:
                moment = decode_timestamp(stamp)
                stored[key] = (moment, moment if late is None else decode_timestamp(late))
        rows, commands = self._choose(chunk, stored)
        if not rows:
            return _Transaction(0, _pack((b"UNWATCH",)), 1)
        return _Transaction(rows, b"".join((_MULTI, *commands, _EXEC)), len(commands) + 2)

    def _choose(self, chunk: _Chunk, stored: dict[bytes, tuple[int, int]]) -> tuple[int, Sequence[bytes]]:
        """Return how many rows are not older than what is stored or comes before them, and what writes those."""
        plain = not (stored or self._force or self._expiry) and chunk.created == chunk.stamps
        if plain and len(set(chunk.keys)) == len(chunk.keys):  # a first fill: nothing to compare
            return len(chunk.keys), chunk.commands
        rows, chosen = 0, []
        for key, event, created, command in zip(*chunk, strict=True):
            old = stored.get(key)
            if old is not None and (event, created) < old:
                continue
            rows += 1
            chosen.append(command)
            if event != created:
                chosen.append(_pack((b"HSET", key, self._created, encode_timestamp(created))))
            elif self._force or (old is not None and old[0] != old[1]):
                chosen.append(_pack((b"HDEL", key, self._created)))
            if self._expiry:
                chosen.append(_pack((b"EXPIRE", key, self._expiry)))
            stored[key] = (event, created)
        return rows, chosen
