"""`python -m genre_assets.serving.agent`: the agent beside one Triton, until SIGTERM."""

import os
import signal
import sys

from genre_assets.errors import GenreError
from genre_assets.serving.agent.agent import Agent
from genre_assets.serving.agent.probes import answering
from genre_assets.settings import load_settings


def main() -> int:
    """Exit code 0 after SIGTERM or SIGINT."""
    os.umask(0o077)
    settings = load_settings()
    agent = Agent(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.end())
    with answering(agent, settings.host, settings.agent_port):
        agent.run()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GenreError as error:
        sys.exit(f"agent: {error}")
