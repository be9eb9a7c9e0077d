"""What the docs say of faults, and the tests that show it: `python -m genre_assets_tests.reliability` writes the pages."""
