"""A small real site that installs both apps, and the script that shows them at work."""
