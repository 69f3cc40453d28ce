"""`python -m copr_operator` is `copr-operator`."""

from copr_operator.cli import main

main()
