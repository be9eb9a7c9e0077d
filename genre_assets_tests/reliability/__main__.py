"""Write the generated parts of docs/reliability.md, docs/operations.md and docs/security.md anew."""

from genre_assets_tests.reliability.page import DOCS, PAGES, written

for page in PAGES:
    (DOCS / page).write_text(written(page))
