"""`python -m genre_assets.gateway.tables review|quarantine|...`: rows as JSON, by a process that ends with them."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore, s3_client


def review(settings: Settings, store: ObjectStore, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The answered clips that are worth a label, the most telling first."""
    from genre_assets.serving.feedback.review import candidates

    database = Database(settings.database_url.get_secret_value())
    return [asdict(candidate) for candidate in candidates(database, store, settings, limit=asked.limit)]


def quarantine(settings: Settings, store: ObjectStore, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The files that are used for nothing, each with its reason, the newest first."""
    from genre_assets.audio import quarantine as files

    return files.listed(store, settings, asked.limit)


def put_back(settings: Settings, store: ObjectStore, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Use a file in quarantine after all, or bring back one that was dropped; what follows, as the only row."""
    from genre_assets.audio import quarantine as files

    database = Database(settings.database_url.get_secret_value())
    return [{"said": files.put_back(store, settings, database, asked.key, by=asked.by, reason=asked.reason)}]


def drop(settings: Settings, store: ObjectStore, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Take a file in quarantine out of the raw bucket; what follows, as the only row."""
    from genre_assets.audio import quarantine as files

    database = Database(settings.database_url.get_secret_value())
    return [{"said": files.drop(store, settings, database, asked.key, by=asked.by, reason=asked.reason)}]


def explanation(settings: Settings, store: ObjectStore, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Why an item was answered as it was, as the only row; none if it is not in the log."""
    from genre_assets.serving.feedback.explanation import explain

    database = Database(settings.database_url.get_secret_value())
    try:
        return [asdict(explain(database, store, settings, asked.request, asked.item))]
    except FileNotFoundError:
        return []


LISTS = {
    "review": review, "quarantine": quarantine, "explanation": explanation, "put-back": put_back, "drop": drop,
}  # fmt: skip
BAD_INPUT = 3  # exit code: what was asked for cannot be


def main() -> int:
    """Print the list; exit code 1, or `BAD_INPUT`, with a sentence if it cannot be made."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=LISTS)
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--request", default="")
    parser.add_argument("--item", type=int, default=0)
    for name in ("--key", "--by", "--reason"):
        parser.add_argument(name, default="")
    asked = parser.parse_args()
    settings = load_settings()
    try:
        rows = LISTS[asked.what](settings, ObjectStore(s3_client(settings)), asked)
    except GenreError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT if isinstance(error, BadInput) else 1
    json.dump(rows, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
