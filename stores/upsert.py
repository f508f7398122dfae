"""Writes rows into the online store, never older over newer, also with several writers at once.

Feast compares event times in the client between two round trips, so two writers can overwrite each other. Here one
script compares and writes a chunk of rows inside Redis, where nothing comes between. Rows are ordered by
(event time, created time): of two rows for one key the later one stays, whatever order they arrive in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from stores.codec import field_name, timestamp_field
from stores.connection import unavailable

if TYPE_CHECKING:
    from redis import Redis

    from stores.connection import Address

# Rows that one call of the script writes: the server answers nobody else meanwhile (about 5 ms).
SCRIPT_ROWS = 1000

# The created time is kept only where it differs from the event time: in late and corrected rows.
_SCRIPT = """
local ts_field, created_field = ARGV[1], ARGV[2]
local expiry, force, width = tonumber(ARGV[3]), ARGV[4] == '1', tonumber(ARGV[5])

local function varint(text, at)
  local value, scale, size = 0, 1, 0
  while true do
    local byte = string.byte(text, at + size)
    size = size + 1
    if size < 8 then
      value = value + byte % 128 * scale
      scale = scale * 128
    end
    if byte < 128 then break end
  end
  if size == 10 then value = value - scale end -- negative: two's complement
  return value, at + size
end

local function moment(text) -- google.protobuf.Timestamp
  local seconds, nanos, at, tag = 0, 0, 1, nil
  while at <= #text do
    tag = string.byte(text, at)
    if tag == 8 then seconds, at = varint(text, at + 1) else nanos, at = varint(text, at + 1) end
  end
  return seconds, nanos
end

local function before(left, right)
  if left == right then return false end
  local ls, ln = moment(left)
  local rs, rn = moment(right)
  return ls < rs or ls == rs and ln < rn
end

local row, written, at = {ts_field}, 0, 6 + width
for i = 1, width do row[1 + 2 * i] = ARGV[5 + i] end

for _, key in ipairs(KEYS) do
  local ts, created = ARGV[at], ARGV[at + 1]
  local stored = redis.call('HMGET', key, ts_field, created_field)
  local old_ts, old_created = stored[1], stored[2]
  local skip = false
  if old_ts and not force then
    skip = before(ts, old_ts)
    if ts == old_ts then
      skip = before(created ~= '' and created or ts, old_created or old_ts)
    end
  end
  if not skip then
    row[2] = ts
    for i = 1, width do row[2 + 2 * i] = ARGV[at + 1 + i] end
    redis.call('HSET', key, unpack(row))
    if created ~= '' then
      redis.call('HSET', key, created_field, created)
    elseif old_created then
      redis.call('HDEL', key, created_field)
    end
    if expiry > 0 then redis.call('EXPIRE', key, expiry) end
    written = written + 1
  end
  at = at + 2 + width
end
return written
"""


def created_field(view: str) -> bytes:
    """Return the hash field that holds the created time of a late row of ``view``; Feast does not know it."""
    return f"_created:{view}".encode()


class Upsert:
    """Writes rows of one feature view.

    Parameters
    ----------
    client : Redis
        Needs the right to run scripts (``EVALSHA``, ``SCRIPT LOAD``).
    address : Address
        Where the client connects to, for error messages.
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
        self,
        client: Redis,
        address: Address,
        view: str,
        features: Sequence[str],
        *,
        expiry: int | None = None,
        force: bool = False,
    ) -> None:
        self._client, self._address = client, address
        self._script = client.register_script(_SCRIPT)
        self._width = len(features)
        self._head = [
            timestamp_field(view),
            created_field(view),
            b"%d" % (expiry or 0),
            b"%d" % force,
            b"%d" % self._width,
            *(field_name(view, feature) for feature in features),
        ]

    def write(
        self,
        keys: Sequence[bytes],
        timestamps: Sequence[bytes],
        created: Sequence[bytes],
        columns: Sequence[Sequence[bytes]],
    ) -> int:
        """Write n rows and return how many were not older than what is stored.

        Parameters
        ----------
        keys, timestamps, created : sequence of bytes, length n
            Redis keys and serialized times; ``created`` is empty where it equals the event time.
        columns : sequence of sequence of bytes, each of length n
            Serialized values, one sequence a feature.

        Raises
        ------
        StoreUnavailable
            When Redis does not answer or refuses the script. Rows of earlier chunks stay; writing again is safe.
        """
        stride = self._width + 2
        flat: list[bytes] = [b""] * (len(keys) * stride)
        for offset, column in enumerate((timestamps, created, *columns)):
            flat[offset::stride] = column
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for start in range(0, len(keys), SCRIPT_ROWS):
                    rows = flat[start * stride : (start + SCRIPT_ROWS) * stride]
                    self._script(keys[start : start + SCRIPT_ROWS], [*self._head, *rows], client=pipe)
                return sum(pipe.execute())
        except (RedisError, OSError) as error:
            raise unavailable(self._address, error) from error
