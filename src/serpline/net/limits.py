"""Every bound of the room, in one place; each is reached by a test.

What a caller chooses (total seconds, body bytes, redirects) is in its request; these are the bounds
that nobody chooses per call.
"""

# A reply's head, 1xx replies included. h11 gives up at 100 KB by itself; the smaller figure makes
# the refusal ours, and a category of its own instead of a protocol error.
HEAD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 256

# Reads while the head is awaited are small, so that a flood of 1xx replies is parsed in slices
# that never hold up the event loop; reads of the body are large.
HEAD_READ_BYTES = 16 * 1024
BODY_READ_BYTES = 64 * 1024

# Wire bytes allowed per byte of body: room for chunk framing, no room for endless extensions.
WIRE_BYTES_PER_BODY_BYTE = 4
WIRE_BYTES_SPARE = 1024 * 1024

# Of a body that is still being read; so many times the connections are all that peers can make of
# our memory. What is larger goes to disk.
BODY_MEMORY_BYTES = 128 * 1024
SPOOL_THREADS = 2

# How much is inflated, and how many chunks are taken, before other tasks get a turn.
INFLATE_PIECE_BYTES = 64 * 1024
CHUNKS_PER_TURN = 64
MEMBERS_MAX = 1024
# Content encodings over one another, and how much of a body without a header tells what it is.
LAYERS_MAX = 2
INFLATE_SNIFF_BYTES = 512

# Addresses of one name: more than this many is no honest answer; so many are tried.
ADDRESSES_MAX = 64
ADDRESSES_TRIED_MAX = 4
CONNECT_SECONDS_MAX = 5.0

GUARDED_PORTS = frozenset({80, 443})
URL_CHARS_MAX = 8192
REDIRECTS_MAX = 20
MESSAGE_CHARS_MAX = 300

# Separate pools and resolver threads: pages that hang must not keep the providers waiting.
PROVIDER_CONNECTIONS_MAX = 256
PAGE_CONNECTIONS_MAX = 128
IDLE_CONNECTIONS_MAX = 64
PROVIDER_RESOLVER_THREADS = 4
PAGE_RESOLVER_THREADS = 16

# Below the five seconds after which common servers close an idle connection: a request sent on a
# connection that is just being closed would count as a failure of the provider.
IDLE_SECONDS_MAX = 4.0

# Shorter values are neither looked for in bodies nor guessed to be secrets from their name: a
# chance match would change data or make a message unreadable.
SECRET_CHARS_MIN = 8
