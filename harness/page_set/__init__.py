"""Pages in the shapes that the web's software makes, with their correct metadata.

Each page has one shape: a content management system, a newspaper, a shop, a forum, a document, or
a common fault. The texts are our own.
"""

from harness.page_set.faulty import FAULTY
from harness.page_set.newspapers import NEWSPAPERS
from harness.page_set.other_kinds import OTHER_KINDS
from harness.page_set.systems import SYSTEMS

SAMPLES = [*SYSTEMS, *NEWSPAPERS, *OTHER_KINDS, *FAULTY]
