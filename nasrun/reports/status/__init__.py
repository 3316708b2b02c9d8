"""What goes on in runs and sweeps, read from their journals and locks alone: `state` finds it, `words` says it on a
console, `page` and `server` show it in a browser."""
