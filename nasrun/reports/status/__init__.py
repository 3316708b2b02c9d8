"""The state of runs and sweeps, read only from their journals and locks: `state` finds it, `words` shows it on a
console, `page` and `server` show it in a browser."""
