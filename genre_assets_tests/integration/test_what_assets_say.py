"""What the page of each asset says first: one sentence of what came of it; and what its table holds, and where its code is."""

import re
from typing import Any

import pytest

from genre_assets.stack.services import graphql
from genre_assets_tests.live import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
SENTENCES = {
    "training_set": r"[\d,]+ recordings in [\d,]+ groups: train [\d,]+ rows, .*\.",
    "tuned_xgboost": r"Xgboost: xgboost version \d+, balanced accuracy [01]\.\d\d \[[01]\.\d\d, [01]\.\d\d\] (in cross-validation|on the test recordings), .*\.",
    "champion_models": r"Champion: \w[\w ]* version \d+, balanced accuracy .*; Fallback: .*\.",
    "conda_pack": r"Python 3\.\d+\.\d+ with \d+ packages from [\w-]+, lock \w{8}\.",
    "triton_repo": r"Release \w+ with champion version \d+.*: it goes live\.",
    "live_ensemble": r"The (champion|fallback) serves: \w+ version \d+ of release \w+\.",
    "drift_reports": r"\d+ items of the (champion|fallback): \w+\. .*",
}
IN_RUNS = {
    "raw_audio": r"[\d,]+ files of \d+ labels: [\d,]+ usable, [\d,]+ in quarantine; [\d,]+ looked at in this run\.",
    "features": r"[\d,]+ segments of [\d,]+ recordings, \d+ labels; [\d,]+ files new in this run\.",
}


def pages(stack: Stack) -> dict[str, dict[str, Any]]:
    """Of each asset what its newest materialisation shows, in its order, and what its definition shows."""
    entry = "metadataEntries {label __typename ... on TextMetadataEntry {text}}"
    asked = f"{{assetNodes {{assetKey {{path}} {entry} assetMaterializations(limit: 1) {{{entry}}}}}}}"
    found = {}
    for node in graphql.query(stack.settings.dagster_url, asked)["assetNodes"]:
        newest = node["assetMaterializations"][0]["metadataEntries"] if node["assetMaterializations"] else []
        found[node["assetKey"]["path"][0]] = {"shown": newest, "defined": node["metadataEntries"]}
    return found


def test_the_first_row_of_each_asset_is_a_sentence_of_what_came_of_it(stack: Stack) -> None:
    found = pages(stack)
    for asset, sentence in SENTENCES.items():
        first = found[asset]["shown"][0]
        assert (first["label"], bool(re.fullmatch(sentence, first["text"]))) == ("result", True), (asset, first)
    for asset, sentence in IN_RUNS.items():
        said = [entry["text"] for entry in found[asset]["shown"] if entry["label"] == "result"]
        assert len(said) == 1, (asset, found[asset]["shown"])
        assert re.fullmatch(sentence, said[0]), said


def test_tables_have_their_columns_and_assets_their_code(stack: Stack) -> None:
    found = pages(stack)
    for asset in IN_RUNS:
        kinds = {entry["label"]: entry["__typename"] for entry in found[asset]["shown"]}
        assert kinds["dagster/column_schema"] == "TableSchemaMetadataEntry"
    made = [asset for asset, page in found.items() if page["shown"]]
    assert set(SENTENCES) <= set(made)
    for asset in (*SENTENCES, *IN_RUNS):
        assert "CodeReferencesMetadataEntry" in {entry["__typename"] for entry in found[asset]["defined"]}, asset
