"""What tests of an app need: time that jumps instead of passing."""
