"""What PM2 runs: it holds the listening socket and lets one gunicorn follow another on it.

Standard library only, and nothing from the site: it lives longer than the code and the environment
that it serves. What imports gunicorn and the site is ``admin_management.serve_gunicorn``.
"""
