"""The kinds as pydantic models, and the CRDs that are generated from them."""
