"""What the stored tables hold, as digests that compare with those of a listing: a materialisation is a claim."""

from genre_assets import labels
from genre_assets.audio.tables import features, inventory, settlement
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


def digests(store: ObjectStore, settings: Settings) -> dict[str, str]:
    """The digest of the objects that each genre's tables were made from; genres that are due are left out.

    A genre is due if its features were not made from its inventory, or either was made by other rules than today's.
    Reads manifests only, no table.
    """
    held = {}
    for genre in (*labels.names(store, settings), labels.UNKNOWN):
        claim = inventory.read_claim(store, settings, genre)
        if claim is None or claim.rules != inventory.rules_of(settings):
            continue
        if genre == labels.UNKNOWN or features.is_up_to_date(store, settings, genre, claim.usable):
            held[genre] = claim.listing
    return held


def inventory_version(store: ObjectStore, settings: Settings, genre: str) -> str:
    """A name for what the stored inventory of a genre holds, which changes whenever it is another; "" if there is none."""
    return settlement.name_of(inventory.read_claim(store, settings, genre))


def features_version(store: ObjectStore, settings: Settings, genre: str) -> str:
    """The same for the stored features of a genre."""
    return settlement.name_of(features.read_manifest(store, settings, genre))
