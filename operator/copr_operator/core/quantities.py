"""Kubernetes' quantities, as far as CoprChroots may use them (api.chroot.Quantity)."""

from fractions import Fraction

_UNITS: dict[str, int | Fraction] = {
    "m": Fraction(1, 1000),
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def amount(quantity: str) -> Fraction:
    """What the quantity stands for: `250m` is a quarter, `1Ki` is 1024."""
    number = quantity.rstrip("mkKMGTi")
    return Fraction(number) * _UNITS.get(quantity[len(number) :], 1)


def smaller(one: str, other: str) -> str:
    """The smaller of two quantities, as it was written."""
    return min(one, other, key=amount)
