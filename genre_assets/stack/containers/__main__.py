"""`python -m genre_assets.stack.containers init`, `NAME` or `NAME --health`: the first process of each container of ours."""

import sys

from genre_assets.errors import GenreError
from genre_assets.settings import load_settings


def main(arguments: list[str]) -> int:
    """Exit code 0 if the one-shot `init` is done, if a service was stopped in order, or if it is healthy."""
    settings = load_settings()
    if arguments == ["init"]:
        from genre_assets.stack.containers.init import initialise

        initialise(settings)
        return 0
    from genre_assets.stack.containers import contained

    if len(arguments) == 2 and arguments[1] == "--health":
        health = contained.service(arguments[0], settings).health()
        print(health.why or "healthy")
        return 0 if health.healthy else 1
    (name,) = arguments
    return contained.keep(contained.service(name, settings))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (GenreError, OSError) as error:
        sys.exit(str(error))
