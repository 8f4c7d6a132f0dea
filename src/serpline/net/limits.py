"""Every fixed bound of this package, each reached by a test.

Callers choose total seconds, body bytes and redirects in their request.
"""

# A reply's head, including 1xx replies. h11 stops at 100 KB with a protocol error. Our smaller
# bound comes first, with an error category of its own.
HEAD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 256

# Reads of the head are small, so that a flood of 1xx replies is parsed in slices that do not block
# the event loop. Reads of the body are large.
HEAD_READ_BYTES = 16 * 1024
BODY_READ_BYTES = 64 * 1024

# Wire bytes allowed per byte of body: enough for chunk framing, too few for endless extensions.
WIRE_BYTES_PER_BODY_BYTE = 4
WIRE_BYTES_SPARE = 1024 * 1024

# Memory per body being read. Peers can take at most this times the connections. More goes to disk.
BODY_MEMORY_BYTES = 128 * 1024
SPOOL_THREADS = 2

# How much is inflated, and how many chunks are read, before other tasks run.
INFLATE_PIECE_BYTES = 64 * 1024
CHUNKS_PER_TURN = 64
MEMBERS_MAX = 1024
# Nested content encodings, and how many bytes of a body without a header decide its encoding.
LAYERS_MAX = 2
INFLATE_SNIFF_BYTES = 512

# Addresses of one name: more than this is a dishonest answer, and how many are tried.
ADDRESSES_MAX = 64
ADDRESSES_TRIED_MAX = 4
CONNECT_SECONDS_MAX = 5.0

GUARDED_PORTS = frozenset({80, 443})
URL_CHARS_MAX = 8192
REDIRECTS_MAX = 20
MESSAGE_CHARS_MAX = 300

# Separate pools and resolver threads: pages that hang must not delay providers.
PROVIDER_CONNECTIONS_MAX = 256
PAGE_CONNECTIONS_MAX = 128
IDLE_CONNECTIONS_MAX = 64
PROVIDER_RESOLVER_THREADS = 4
PAGE_RESOLVER_THREADS = 16

# Common servers close idle connections after five seconds. A request on a connection that is
# being closed would count as the provider's failure.
IDLE_SECONDS_MAX = 4.0

# Shorter values are not searched for in bodies, nor taken for secrets by their name. A chance match
# would change data or make a message unreadable.
SECRET_CHARS_MIN = 8
