-- One row a bucket. Instants are seconds since the machine started, `wall` is seconds since 1970.
CREATE TABLE bucket (
    name TEXT PRIMARY KEY,
    state BLOB NOT NULL,    -- the reservation log and who waits (MessagePack)
    at REAL NOT NULL,       -- when it was written
    wall REAL NOT NULL,     -- the same by the clock on the wall: all that outlives a restart
    idle_at REAL NOT NULL   -- from then on the row says nothing any more
);
