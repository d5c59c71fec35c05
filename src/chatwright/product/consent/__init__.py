"""What people allow to be learned from them, what is kept of them, and how they take all of it along or away."""
