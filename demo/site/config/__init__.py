"""The project: settings, addresses, server."""
