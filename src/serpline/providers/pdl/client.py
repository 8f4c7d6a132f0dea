"""Builds calls to People Data Labs' company enrichment; does no I/O.

"Not found" is an answer that PDL does not bill. Limit: one domain a call.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from serpline.domain.companies import Company
from serpline.domain.http import HttpRequest, ProviderCall
from serpline.providers.pdl import wire

PROVIDER = "pdl"
CREDITS_PER_MATCH = 1.0
# Of 10 (docs.peopledatalabs.com, "Output Response - Company Enrichment API"). PDL gets this bound
# and neither returns nor bills a match below it.
LIKELIHOOD_MIN = 3


class PdlClient:
    """Builds the calls. ``now`` is the clock for a reply's rate headers."""

    def __init__(self, *, base_url: str, api_key: str, now: Callable[[], datetime]) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._now = now

    def enrich(self, domain: str) -> ProviderCall[Company | None]:
        """Find the company whose website is ``domain`` (registrable), or None.

        A match costs one credit.
        """
        params = {
            "website": domain,
            "min_likelihood": str(LIKELIHOOD_MIN),
            # Without this, names are in lower case.
            "titlecase": "true",
        }
        return ProviderCall(
            provider=PROVIDER,
            operation="company_enrich",
            request=HttpRequest(
                method="GET",
                url=f"{self._base_url}/v5/company/enrich",
                params=params,
                headers={"X-Api-Key": self._api_key, "Accept": "application/json"},
                secrets=(self._api_key,),
                size_bytes_max=2_000_000,
            ),
            identity=params,
            parse=partial(
                wire.company, domain=domain, likelihood_min=LIKELIHOOD_MIN, now=self._now
            ),
            credits=CREDITS_PER_MATCH,
            billed=wire.credits_spent,
        )
