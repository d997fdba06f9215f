"""The program that performs one update.

Standard library only, and nothing from the site: a run replaces the code and the environment it
was started from, so whatever it needs is imported before its first step.
"""
