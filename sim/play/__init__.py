"""Events: devices that play demands, and what watches them."""
