"""What is frozen, the proof that it stayed so, and what that saves."""
