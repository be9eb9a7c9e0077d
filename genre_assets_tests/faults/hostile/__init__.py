"""Hostile input through the server: mutated media files and malformed requests, beside a client that asks honestly."""
