"""What a person writes who needs a webhook today: one view, one table."""
