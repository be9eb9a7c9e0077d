"""The runtime's pure functions: what the Triton models do, without Triton."""

import re
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genre_assets import inference
from genre_assets.audio.decoding.reasons import Reason
from genre_assets.audio.extract import FEATURE_SETS, Limits, extract_item
from genre_assets.errors import PermanentFailure
from genre_assets.genres import GENRES
from genre_assets.inference import answers
from genre_assets.inference.answers import Answer, Facts, Predictor, ServedBy, answer, log_row
from genre_assets.inference.capture_upload import CaptureState
from genre_assets.inference.features import FeatureMaker
from genre_assets.inference.items import ItemLimits, ItemReader
from genre_assets.inference.metrics import ERROR_CODES, Metrics
from genre_assets.inference.spool import LogState
from genre_assets.triton.protocol import row_id
from genre_assets_tests.serving.toys import clip, toy_model

COLUMNS = len(FEATURE_SETS["default"].columns)
SERVED = ServedBy("xgboost", 3, "champion", 0.2, GENRES)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(toy_model(tmp_path_factory.mktemp("model"), version=3, family="xgboost", seed=1))


def reader(item_bytes: int = 2**20, request_bytes: int = 2**24) -> ItemReader:
    def connect() -> None:
        pytest.fail("no item names S3")

    return ItemReader(ItemLimits(item_bytes, request_bytes, ("raw",)), connect)  # type: ignore[arg-type]


def maker(**limits: int) -> FeatureMaker:
    version = FEATURE_SETS["default"].version
    return FeatureMaker(reader(**limits), Limits(), feature_set="default", version=version, segments=3)


def test_numpy_2_is_refused_in_the_execution_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(PermanentFailure, match="numpy<2"):
        answers.check_numpy()
    monkeypatch.setattr(np, "__version__", "1.26.4")
    answers.check_numpy()


def test_an_items_scores_are_the_mean_over_the_segments_that_it_has(predictor: Predictor) -> None:
    random = np.random.default_rng(0)
    features = np.full((2, 3, COLUMNS), np.nan, np.float32)
    features[0] = random.standard_normal((3, COLUMNS))
    features[1, 0] = features[0, 0]
    scores = predictor.scores(features)
    single = predictor.scores(features[1:, :1])[0]
    rows = np.stack([predictor.scores(features[:1, k : k + 1])[0] for k in range(3)])
    np.testing.assert_allclose(scores[0], rows.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(scores[1], single, atol=1e-6)


def test_an_item_without_features_gets_no_guess(predictor: Predictor) -> None:
    scores = predictor.scores(np.full((1, 3, COLUMNS), np.nan, np.float32))
    given = answer(Facts(), scores[0], GENRES)
    assert (given.label, given.probabilities, given.code) == ("", [], "no_answer")


def test_an_items_error_goes_before_any_score() -> None:
    given = answer(Facts(code="too_large", error="9 MB"), np.full(10, 0.1, np.float32), GENRES)
    assert given.message == "too_large: 9 MB"
    assert given.label == ""


def test_one_bad_item_costs_only_itself_and_order_holds() -> None:
    good = [clip(i) for i in range(3)]
    features, facts = maker().make([good[0], b"garbage" * 50, good[1], b"", good[2]])
    assert [f.code == "" for f in facts] == [True, False, True, False, True]
    assert np.isnan(features[[1, 3]]).all()
    for place, alone in ((0, good[0]), (2, good[1]), (4, good[2])):
        np.testing.assert_array_equal(features[place], maker().make([alone])[0][0])


def test_a_failure_that_nobody_foresaw_still_costs_only_its_item(monkeypatch: pytest.MonkeyPatch) -> None:
    from genre_assets.inference import features as runtime_features

    real, poison = extract_item, clip(7)

    def explode(data: bytes, **options: object) -> object:
        if data == poison:
            raise ZeroDivisionError
        return real(data, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(runtime_features, "extract_item", explode)
    _, facts = maker().make([clip(1), poison])
    assert [f.code for f in facts] == ["", "internal"]
    assert "ZeroDivisionError" in facts[1].error


def test_a_request_above_its_limit_is_refused_item_by_item() -> None:
    _, facts = maker(request_bytes=1000).make([clip(1), clip(2)])
    assert {f.code for f in facts} == {"request_too_large"}
    assert "send fewer items" in facts[0].error


def test_code_that_makes_other_features_than_the_model_wants_does_not_start() -> None:
    with pytest.raises(PermanentFailure, match="materialise triton_repo again"):
        FeatureMaker(reader(), Limits(), feature_set="default", version="0-other", segments=3)
    with pytest.raises(PermanentFailure, match="none of that name"):
        FeatureMaker(reader(), Limits(), feature_set="wishful", version="1", segments=3)


def test_the_log_row_keeps_the_middle_segment_of_those_there_are() -> None:
    features = np.full((3, 4), np.nan, np.float32)
    features[0], features[1] = 1.0, 2.0
    given = Answer("rock", 0.9, [0.1, 0.9], "", "")
    row = log_row("id", 2, Facts("abc"), features, SERVED, given, ("default", "1"))
    assert row.features == [2.0] * 4
    assert (row.item, row.label, row.version, row.route, row.error_code) == (2, "rock", 3, "champion", None)
    empty = log_row(
        "id",
        2,
        Facts(code="empty", error="x"),
        features * np.nan,
        SERVED,
        answer(Facts(code="empty", error="x"), features[0], GENRES),
        ("default", "1"),
    )
    assert (empty.features, empty.probabilities, empty.confidence, empty.error_code) == (None, None, None, "empty")


def test_a_retry_under_the_same_uuid_is_the_same_row_and_any_other_id_is_not() -> None:
    request = str(uuid.uuid4())
    assert row_id(request, 0) == row_id(request, 0)
    assert row_id(request, 0) != row_id(request, 1)
    assert row_id("1", 0) != row_id("1", 0)
    assert row_id("", 0) != row_id("", 0)


class FakeMetric:
    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels
        self.value = 0.0
        self.observed: list[float] = []

    def increment(self, by: float) -> None:
        self.value += by

    def set(self, value: float) -> None:
        self.value = value

    def observe(self, value: float) -> None:
        self.observed.append(value)


class FakeUtils:
    """Stands for the python backend's metric API."""

    made: dict[str, list[FakeMetric]]

    class MetricFamily:
        COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
        all: dict[str, list[FakeMetric]]

        def __init__(self, name: str, description: str, kind: str) -> None:
            assert description
            assert kind
            self.metrics = self.all.setdefault(name, [])

        def Metric(self, labels: dict[str, str], buckets: list[float] | None = None) -> FakeMetric:  # noqa: N802  # Triton's name
            self.metrics.append(FakeMetric(labels))
            return self.metrics[-1]


def test_every_code_that_an_item_can_fail_with_is_counted_from_0() -> None:
    inventory_only = {Reason.DUPLICATE, Reason.DUPLICATE_RECORDING, Reason.CONFLICTING_LABEL, Reason.UNKNOWN_GENRE}
    sources = " ".join(path.read_text() for path in Path(inference.__file__).parent.glob("*.py"))
    raised = re.findall(r'(?:ItemError\(|code=|Answer\("", 0\.0, \[\], )\s*"(\w+)"', sources)
    assert {*raised, *(set(Reason) - inventory_only)} == set(ERROR_CODES)
    assert "no_answer" in raised


def test_metrics_count_by_genre_and_route_and_errors_by_reason() -> None:
    FakeUtils.MetricFamily.all = {}
    metrics = Metrics(FakeUtils)
    rock = Answer("rock", 0.9, [0.9], "", "")
    for given, served in ((rock, SERVED), (rock, SERVED), (rock, replace(SERVED, route="fallback"))):
        metrics.count(given, Facts(decode_ms=5, extract_ms=50), served)
    metrics.count(Answer("", 0, [], "silent", "x"), Facts(code="silent"), SERVED)
    metrics.log_state(LogState(500, 1, 1, 1.0))
    metrics.log_state(LogState(123, 4, 2, 9.0))
    metrics.count_probe(3)
    metrics.release_state(fits=None)
    assert "genre_release_skew" in FakeUtils.MetricFamily.all
    assert FakeUtils.MetricFamily.all["genre_release_skew"] == [], "unknown is no sample"
    metrics.release_state(fits=False)
    metrics.capture_state(CaptureState(800, 1, 2))
    metrics.capture_state(CaptureState(700, 4, 2))
    found = FakeUtils.MetricFamily.all
    assert [(m.labels, m.value) for m in found["genre_predictions_total"]] == [
        ({"genre": "rock", "route": "champion"}, 2),
        ({"genre": "rock", "route": "fallback"}, 1),
    ]
    errors = {m.labels["reason"]: m.value for m in found["genre_item_errors_total"]}
    assert errors == {**dict.fromkeys(ERROR_CODES, 0), "silent": 1}, "every code is there before its first error"
    assert found["genre_decode_seconds"][0].observed == [0.005] * 3
    assert found["genre_extract_seconds"][0].observed == [0.05] * 3
    assert found["genre_log_backlog_bytes"][0].value == 123
    assert found["genre_log_dropped_rows_total"][0].value == 4
    assert found["genre_log_set_aside_rows_total"][0].value == 2
    assert found["genre_log_last_success_timestamp_seconds"][0].value == 9.0
    assert found["genre_capture_backlog_bytes"][0].value == 700
    assert found["genre_capture_stored_clips_total"][0].value == 4
    assert found["genre_capture_dropped_clips_total"][0].value == 2
    assert found["genre_probe_items_total"][0].value == 3
    assert found["genre_release_skew"][0].value == 1


def test_the_model_folder_is_checked_against_its_manifest(tmp_path: Path) -> None:
    folder = toy_model(tmp_path / "m", version=1, family="xgboost", seed=1)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
    with pytest.raises(PermanentFailure, match="not the file"):
        Predictor(folder)
