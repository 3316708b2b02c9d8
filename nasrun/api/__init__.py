"""The public Python interface, exported by `nasrun` itself (`docs/api.md`)."""
