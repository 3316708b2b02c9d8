"""The public Python interface; its names are those of `nasrun` itself (`docs/api.md`)."""
