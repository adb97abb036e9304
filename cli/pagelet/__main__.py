"""`python -m pagelet`, the same as the `pagelet` script."""

from pagelet.main import main

main()
