"""Who is in class today."""
