"""DataForSEO: search volumes and costs of keywords, from Google Ads."""
