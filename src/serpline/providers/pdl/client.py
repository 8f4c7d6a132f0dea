"""People Data Labs, company enrichment: who is behind a domain.

Promise: builds calls and reads replies; does no I/O. A company that PDL does not know is an
answer, and PDL does not bill it. Limit: one domain a call.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from serpline.domain.companies import Company
from serpline.domain.http import HttpRequest, ProviderCall
from serpline.providers.pdl import wire

PROVIDER = "pdl"
CREDITS_PER_MATCH = 1.0
# Of 10 (docs.peopledatalabs.com, "Output Response - Company Enrichment API"). Below it a match is
# none: PDL is told so, and does not bill it.
LIKELIHOOD_MIN = 3


class PdlClient:
    """Builds PDL calls. ``now`` tells the instant a reply is read at, for its rate headers."""

    def __init__(self, *, base_url: str, api_key: str, now: Callable[[], datetime]) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._now = now

    def enrich(self, domain: str) -> ProviderCall[Company | None]:
        """The company whose website is ``domain`` (registrable); None when PDL knows none.

        Costs one credit for a match and nothing otherwise.
        """
        asked = {
            "website": domain,
            "min_likelihood": str(LIKELIHOOD_MIN),
            # Otherwise names come in lower case.
            "titlecase": "true",
        }
        return ProviderCall(
            provider=PROVIDER,
            operation="company_enrich",
            request=HttpRequest(
                method="GET",
                url=f"{self._base_url}/v5/company/enrich",
                params=asked,
                headers={"X-Api-Key": self._api_key, "Accept": "application/json"},
                secrets=(self._api_key,),
                size_bytes_max=2_000_000,
            ),
            identity=asked,
            parse=partial(
                wire.company, domain=domain, likelihood_min=LIKELIHOOD_MIN, now=self._now
            ),
            credits=CREDITS_PER_MATCH,
            billed=wire.credits_spent,
        )
