"""`python -m genre_assets.cli`."""

from genre_assets.cli import main

main()
