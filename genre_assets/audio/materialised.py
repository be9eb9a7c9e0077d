"""What the stored tables hold, as digests that compare with those of a listing: a materialisation is a claim."""

from genre_assets.audio import features, inventory, listing
from genre_assets.genres import GENRES
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


def digests(store: ObjectStore, settings: Settings) -> dict[str, str]:
    """The digest of the objects that each genre's tables were made from; genres that are due are left out.

    A genre is due if its features were not made from its inventory, or either was made by other rules than today's.
    Reads manifests only, no table.
    """
    held = {}
    for genre in (*GENRES, listing.UNKNOWN):
        claim = inventory.read_claim(store, settings, genre)
        if claim is None or claim.rules != inventory.rules_of(settings):
            continue
        if genre == listing.UNKNOWN or features.is_up_to_date(store, settings, genre, claim.usable):
            held[genre] = claim.listing
    return held
