"""Write the generated pages of docs/ anew."""

from genre_assets_tests.site.generated import DOCS, PAGES

for page, made in PAGES.items():
    (DOCS / page).parent.mkdir(exist_ok=True)
    (DOCS / page).write_text(made())
