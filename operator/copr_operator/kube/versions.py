"""Resource versions. Those of one resource type are numbers that grow (KEP-5504)."""


def is_newer(version: str, other: str, *, unknown: bool = True) -> bool:
    """Whether `version` is later than `other`; `unknown` where one of them is no number."""
    if not (version.isdigit() and other.isdigit()):
        return unknown
    return int(version) > int(other)
