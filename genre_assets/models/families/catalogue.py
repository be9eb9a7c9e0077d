"""The model families, by name. A new family is one more entry here; nothing else in the stage names one."""

from collections.abc import Mapping

from genre_assets.models.families import boosting, forest, linear, neighbours
from genre_assets.models.families.classifier import Family

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("xgboost", "1", boosting.DEFAULTS, boosting.suggest, boosting.fit),
        Family("random_forest", "1", forest.DEFAULTS, forest.suggest, forest.fit, {"trees": 32}),
        Family("k_neighbors", "1", neighbours.DEFAULTS, neighbours.suggest, neighbours.fit),
        Family("linear", "1", linear.DEFAULTS, linear.suggest, linear.fit),
    )
}
