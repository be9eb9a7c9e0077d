"""Which pages are generated, and what makes each."""

from collections.abc import Callable, Mapping

from genre_assets_tests.live import ROOT
from genre_assets_tests.site.commands_page import commands_page
from genre_assets_tests.site.dagster_pages import assets_page, jobs_page
from genre_assets_tests.site.llms import llms
from genre_assets_tests.site.metrics_page import metrics_page
from genre_assets_tests.site.python_page import python_page
from genre_assets_tests.site.rest_page import rest_page
from genre_assets_tests.site.settings_page import settings_page

DOCS = ROOT / "docs"
PAGES: Mapping[str, Callable[[], str]] = {
    "reference/assets.md": assets_page,
    "reference/commands.md": commands_page,
    "reference/jobs.md": jobs_page,
    "reference/metrics.md": metrics_page,
    "reference/python.md": python_page,
    "reference/rest.md": rest_page,
    "reference/settings.md": settings_page,
    "llms.txt": llms,
}
