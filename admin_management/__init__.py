"""A Django site under PM2 updates itself from git, safely and on the record."""
