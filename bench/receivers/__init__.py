"""What bench/receiver.py measures: this package's receiver, a bare view, and three others."""
