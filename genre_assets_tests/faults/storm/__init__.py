"""Random faults on a running stack under load: `make test-faults`, or `python -m genre_assets_tests.faults.storm`."""
