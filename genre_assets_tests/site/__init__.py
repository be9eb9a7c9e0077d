"""The docs as a site: pages generated from the code (`python -m genre_assets_tests.site`), and the tests of all pages."""
