"""The main job, told step by step: audio, build, clients, drift, fallback, recovery. Raises if any of it fails."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rich.progress import Progress
from rich.table import Column, Table

from genre_assets import keys
from genre_assets.database import Database
from genre_assets.demo.narrator import Narrator, Told
from genre_assets.demo.traffic import Request, Traffic, usable_folder
from genre_assets.errors import PermanentFailure
from genre_assets.settings import Settings
from genre_assets.stack.whole_build import build
from genre_assets.store import ObjectStore, s3_client

# A demonstration has tens of clips and minutes, not thousands and days: smaller windows, shorter dwell and studies.
# They hold while the story is told; the documented defaults (or what was set) come back at its end.
SETTINGS = {
    "GENRE_WINDOW_SIZE": "32",
    "GENRE_WINDOW_MINIMUM": "24",
    "GENRE_MIN_DWELL_SECONDS": "5",
    "GENRE_SENSOR_INTERVAL_SECONDS": "3",
    "GENRE_TRIALS_XGBOOST": "8",
    "GENRE_TRIALS_RANDOM_FOREST": "8",
    "GENRE_TRIALS_K_NEIGHBORS": "16",
    "GENRE_TUNING_SECONDS": "60",
}
MOST_WINDOWS = 14  # of one kind of traffic, before the story gives up
REACTION_SECONDS = 120.0  # from the last item of a window to its verdict, and from a decision to the switch


def tell(audio: Path | None) -> None:
    """Run the whole story on a folder of audio (looked at before anything is started), or on synthetic sample music."""
    from genre_assets.stack import local

    audio = usable_folder(audio) if audio is not None else None
    narrator = Narrator()
    told = Told()
    narrator.chapter("1. Start the services")
    narrator.say(
        f"with windows of {SETTINGS['GENRE_WINDOW_SIZE']} items, a short dwell and short studies, for the story"
    )
    settings = local.up(extra=SETTINGS, report=narrator.say)
    folder = _audio(settings, audio, narrator, told)
    _ingest(settings, folder, narrator, told)
    has_fallback = _build(settings, narrator, told)
    _predict(settings, folder, narrator, told)
    _drift_and_back(settings, folder, narrator, told, has_fallback=has_fallback)
    narrator.chapter("8. The story's settings end")
    settings = local.up(report=narrator.say)
    told.add("windows from now on", f"{settings.window_size} distinct items (GENRE_WINDOW_SIZE)")
    _close(settings, narrator, told)


def _audio(settings: Settings, audio: Path | None, narrator: Narrator, told: Told) -> Path:
    narrator.chapter("2. Audio")
    if audio is not None:
        narrator.say(f"your audio: {audio.absolute()}")
        told.add("audio", audio.absolute())
        return audio
    from genre_assets.demo.synthetic import write_sample_set

    folder = settings.home / "synthetic_audio"
    folder.mkdir(exist_ok=True, mode=0o700)
    before = len(list(folder.rglob("*.wav")))
    narrator.say("composing synthetic sample music, ten genres (made by rules: it says nothing about real music)")
    with Progress(console=narrator.console, transient=True) as bar:
        task = bar.add_task("composing", total=None)
        written = write_sample_set(
            folder, seed=settings.seed, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    narrator.say(f"{written} pieces composed" + (f", {before} were there already" if before else ""))
    told.add("audio", f"synthetic sample music in {folder}")
    return folder


def _ingest(settings: Settings, folder: Path, narrator: Narrator, told: Told) -> None:
    from genre_assets.audio.ingest import ingest
    from genre_assets.audio.sources import Folder

    narrator.chapter("3. Ingest into S3")
    store = ObjectStore(s3_client(settings))
    with Progress(console=narrator.console, transient=True) as bar:
        task = bar.add_task("uploading", total=None)
        report = ingest(
            Folder(folder),
            store=store,
            settings=settings,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    narrator.say(f"{report.uploaded} uploaded, {report.unchanged} unchanged, in s3://{settings.raw_bucket}")
    for name, why in report.left_out.items():
        narrator.say(f"left out: {name}: {why}")
    told.add("files in S3", report.uploaded + report.unchanged)


def _build(settings: Settings, narrator: Narrator, told: Told) -> bool:
    """Returns whether there is a fallback."""
    from genre_assets.models.mlflow.registry import ModelRegistry
    from genre_assets.models.tuning.card import in_one_line

    narrator.chapter("4. Build: features, models, champion, environment, Triton repository, live ensemble")
    build(settings, report=narrator.say)
    registry = ModelRegistry.from_settings(settings)
    for alias in ("champion", "fallback"):
        version = registry.version(alias)
        if version is None and alias == "champion":
            raise PermanentFailure(f"the build ended without a {alias}; see {settings.mlflow_link}")
        if version is None:
            last = registry.last_move(alias)
            told.add(alias, f"none: {last.reason}" if last else "none")
        else:
            figures = in_one_line(version.metrics, "cross_validation")
            told.add(alias, f"{version.family}, version {version.version}, {figures}")
        narrator.say(": ".join(told.rows[-1]))
    return registry.version("fallback") is not None


def _predict(settings: Settings, folder: Path, narrator: Narrator, told: Told) -> None:
    """Held-out clips, asked with plain tritonclient, as any client would."""
    import numpy as np
    import tritonclient.grpc as triton

    narrator.chapter("5. Predict held-out clips through Triton (tritonclient, gRPC)")
    store = ObjectStore(s3_client(settings))
    rows = store.read_parquet(settings.features_bucket, keys.TRAINING_SET)
    held_out = rows[rows["split"] != "train"].drop_duplicates("key")
    if held_out.empty:
        narrator.say("no recording is held out: too few of them")
        return
    right = 0
    with triton.InferenceServerClient(settings.triton_grpc) as client:
        for number, (key, genre) in enumerate(zip(held_out["key"], held_out["genre"], strict=True)):
            address = f"s3://{settings.raw_bucket}/{key}".encode()
            item = triton.InferInput("AUDIO", [1, 1], "BYTES")
            item.set_data_from_numpy(np.array([[address]], dtype=object))
            answer = client.infer("genre_ensemble", [item], request_id=f"held-out-{number}")
            problem = answer.as_numpy("ERROR").item().decode()
            if problem:
                raise PermanentFailure(f"the ensemble cannot answer {address.decode()}: {problem}")
            right += answer.as_numpy("LABEL").item().decode() == genre
    said = f"{right} of {len(held_out)} right"
    narrator.say(f"{said}; none of these recordings was trained on ({folder.name})")
    told.add("held-out clips", said)


def _drift_and_back(settings: Settings, folder: Path, narrator: Narrator, told: Told, *, has_fallback: bool) -> None:
    database = Database(settings.database_url.get_secret_value())
    answered = database.rows("SELECT count(*) AS n FROM served_requests")[0]["n"]
    traffic = Traffic(folder, seconds=settings.segment_seconds, seed=settings.seed + answered)
    narrator.chapter("6. Drift: the fallback takes over" if has_fallback else "6. Drift: retraining is asked for")
    narrator.say(
        f"traffic: distinct {settings.segment_seconds:g} s segments of held-out and training clips, "
        f"{settings.window_size} in a window; now in the telephone band, quieter, noisy"
    )
    watch = Watch(settings, database, narrator)
    if not has_fallback:
        told.add("drift without a fallback", watch.send_until_retraining(traffic.drifted()))
        return
    told.add("drift to fallback", watch.send_until("fallback", traffic.drifted()))
    narrator.chapter("7. Clean audio: the champion returns")
    told.add("clean to champion", watch.send_until("champion", traffic.clean()))
    told.add("slowest verdict", f"{watch.slowest:.0f} s after the last item of its window")


class Watch:
    """Sends window after window and waits for the verdicts, as the running daemon gives them."""

    def __init__(self, settings: Settings, database: Database, narrator: Narrator) -> None:
        from genre_assets.triton.control import TritonControl

        self.settings = settings
        self.database = database
        self.narrator = narrator
        self.control = TritonControl.from_settings(settings)
        self.slowest = 0.0  # seconds from the last item of a window to its verdict

    def send_until(self, route: str, requests: Iterator[Request]) -> str:
        """Send windows of `requests` until `route` serves; returns how many it took. Raises if it never does."""
        began = time.monotonic()
        for number in range(1, MOST_WINDOWS + 1):
            before = self._windows()
            self._send(list(islice(requests, self.settings.window_size)))
            verdict = self._wait_for_verdict(before, route)
            self.narrator.say(f"window {number}: {verdict}; {self.control.route()} serves")
            if self._serves(route):
                taken = f"{route} serves after {number} windows, {time.monotonic() - began:.0f} s"
                self.narrator.say(taken)
                return taken
        raise PermanentFailure(
            f"{route} does not serve after {MOST_WINDOWS} windows; see {self.settings.dagster_link}/assets/drift_reports"
        )

    def send_until_retraining(self, requests: Iterator[Request]) -> str:
        """Send windows of `requests` until retraining is asked for, as drift does where nothing could take over."""
        from genre_assets.serving.promotion import retraining_requests

        for number in range(1, MOST_WINDOWS + 1):
            before = self._windows()
            self._send(list(islice(requests, self.settings.window_size)))
            self.narrator.say(f"window {number}: {self._wait_for_verdict(before, 'fallback')}")
            if request := retraining_requests.open_request(self.database):
                self.narrator.say(request.reason)
                return f"retraining is asked for after {number} windows, and the champion serves on"
        raise PermanentFailure(f"nothing is asked for after {MOST_WINDOWS} windows; see {self.settings.dagster_link}")

    def _send(self, requests: list[Request]) -> None:
        from genre_assets.triton.client.sync import GenreClient

        with GenreClient(self.settings.triton_grpc) as client:
            for prediction in client.predict([request.audio for request in requests]):
                if prediction.error:
                    raise PermanentFailure(f"the ensemble answered with an error: {prediction.error}")

    def _windows(self) -> int:
        return int(self.database.rows("SELECT count(*) AS n FROM drift_windows WHERE judged_at IS NOT NULL")[0]["n"])

    def _wait_for_verdict(self, before: int, route: str) -> str:
        began = time.monotonic()
        while time.monotonic() < began + REACTION_SECONDS:
            if self._windows() > before:
                self.slowest = max(self.slowest, time.monotonic() - began)
                newest = "SELECT level FROM drift_windows WHERE judged_at IS NOT NULL ORDER BY judged_at DESC LIMIT 1"
                return f"drift {self.database.rows(newest)[0]['level']}"
            if self.control.route() == route:
                return "not evaluated yet"
            time.sleep(0.5)
        raise PermanentFailure(
            f"no verdict {REACTION_SECONDS:.0f} s after a full window: is the daemon up? Try: genre-assets status"
        )

    def _serves(self, route: str) -> bool:
        """Whether the route serves, and is booked, given the time that a decided promotion takes.

        Triton alone says it too early: what answers otherwise than offline is taken back.
        """
        from genre_assets.serving.promotion import route_state

        end = time.monotonic() + REACTION_SECONDS
        while True:
            now = route_state.standing(self.database)
            if now.due is None and now.wanted == route == self.control.route():
                return True
            if now.wanted != route or time.monotonic() > end:
                return False
            time.sleep(0.5)


def _close(settings: Settings, narrator: Narrator, told: Told) -> None:
    from genre_assets.triton.control import TritonControl

    route = TritonControl.from_settings(settings).route()
    if route != "champion":
        raise PermanentFailure(f"the champion should serve at the end, but it is {route}")
    told.add("serves now", route)
    told.add("Dagster", settings.dagster_link)
    told.add("MLflow", settings.mlflow_page)
    told.add("try it, review, alerts", settings.gateway_link)
    told.add("Triton", f"gRPC {settings.triton_grpc}, HTTP {settings.triton_http}")
    told.add("Triton metrics", f"http://{settings.triton_metrics}/metrics")
    result = Column("result", overflow="fold")  # a link that is cut off opens nothing
    table = Table("what", result, title=f"Done in {time.monotonic() - narrator.start:.0f} s", title_justify="left")
    for what, value in told.rows:
        table.add_row(what, value)
    narrator.console.print()
    narrator.console.print(table)
    narrator.console.print("The services are up; `genre-assets down` stops them.")
