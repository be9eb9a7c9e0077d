"""The main job as one command: sample music, traffic for the ensemble, and the story from clean to drift and back."""
